import { mapLimit } from '@mural/core';
import { MigrationError } from './errors.ts';
import type { Fleet, UsedArtifact } from './fleet.ts';
import type { Session } from './session.ts';

/** Artifacts at a time: enough to hide the way to a registry, few enough for any of them. */
const WIDTH = 4;
const SHOWN = 5;

/**
 * Brings every artifact that the fleet uses to the target, and proves each there. What this run has
 * proven before costs nothing.
 *
 * @throws MigrationError `ArtifactMissing` when neither registry has what a spoke is to run, and as copies do
 */
export async function copyArtifacts(session: Session, fleet: Fleet): Promise<void> {
  const { ports, direction, signal, verified } = session;
  const due = fleet.artifacts.filter((artifact) => !verified.has(keyOf(artifact)));
  const missing: UsedArtifact[] = [];
  let done = 0;
  let sent = 0;
  const way = { to: direction.target, onlyMissing: direction.target === 'from' };
  await mapLimit(due, WIDTH, async (artifact) => {
    const { found, bytes } = await ports.registries.copy(artifact, way, signal);
    if (found) verified.add(keyOf(artifact));
    else missing.push(artifact);
    done += 1;
    sent += bytes;
    ports.progress({ type: 'copied', done, total: due.length, bytes: sent });
  });
  await session.update({
    copied: { artifacts: verified.size, bytes: session.state.copied.bytes + sent },
  });
  tellMissing(session, missing);
}

function tellMissing(session: Session, missing: readonly UsedArtifact[]): void {
  const inputs = missing.filter(({ use }) => use === 'input');
  for (const { user, reference } of inputs.slice(0, SHOWN)) {
    session.warn(`${user} is made from ${reference}, which ${session.source.url} does not have`);
  }
  const required = missing.filter(({ use }) => use === 'required');
  if (required.length === 0) return;
  const names = required.slice(0, SHOWN).map(({ user, reference }) => `${user} (${reference})`);
  const more = required.length > SHOWN ? ` and ${required.length - SHOWN} more` : '';
  throw new MigrationError(
    'ArtifactMissing',
    `neither registry has the artifact of ${names.join(', ')}${more}`,
    {
      facts: { missing: required.length },
      hint: 'The hub pushes what is missing at its next check, within 10 minutes; then run this again.',
      retryable: true,
    },
  );
}

/** Tags may move while digests may not, and a digest may get a tag later. */
function keyOf({ reference, tags }: UsedArtifact): string {
  return `${reference} ${tags.join()}`;
}
