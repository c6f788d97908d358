import { mapLimit } from '@mural/core';
import { rootTag } from '../settings.ts';
import { MigrationError } from './errors.ts';
import type { FleetSpoke } from './fleet.ts';
import type { StoredValues } from './ports.ts';
import type { Session } from './session.ts';

/** Spokes that are asked for to know that the hub works with both registries. */
const SAMPLE = 20;
const WRITE_ATTEMPTS = 5;

/**
 * Puts the target's values in force, keeps the others beside them, and waits until the hub publishes to
 * both registries. No spoke moves by it: which registry a spoke is to read is in the state of the
 * migration.
 *
 * @throws MigrationError `ValuesDiffer`, `HubSilent`
 */
export async function switchHub(session: Session): Promise<void> {
  await putInForce(session);
  const spokes = (await session.fleet()).spokes.filter((spoke) => isPublished(spoke)).slice(0, SAMPLE);
  await rootsReady(
    session,
    spokes.map(({ name }) => name),
  );
}

async function putInForce(session: Session): Promise<void> {
  const { ports, plan, target, source, signal } = session;
  for (let attempt = 1; ; attempt += 1) {
    const { value, version } = await ports.values.read(signal);
    const wanted = wantedValues(value);
    if (wanted === undefined) return;
    try {
      await ports.values.write(wanted, version, signal);
      return;
    } catch (error) {
      const again = error instanceof MigrationError && error.code === 'Interleaved';
      if (!again || attempt >= WRITE_ATTEMPTS) throw error;
    }
  }

  function wantedValues(value: StoredValues | undefined): StoredValues | undefined {
    const current = value?.current === undefined ? undefined : plan.hashOf(value.current);
    const previous = value?.previous === undefined ? undefined : plan.hashOf(value.previous);
    if (current === target.valuesHash) {
      const kept = previous === source.valuesHash;
      return kept ? undefined : { current: value?.current, previous: source.text };
    }
    // What is in force may have changed besides the registry, so it is kept as it is.
    if (current === source.valuesHash) return { current: target.text, previous: value?.current };
    throw new MigrationError('ValuesDiffer', 'the values of the hub have changed and name neither registry', {
      hint: 'Put either of the two files in force again, then run this again.',
    });
  }
}

/** Keeps only the values that are in force. */
export async function dropPrevious(session: Session): Promise<void> {
  const { values } = session.ports;
  const { value, version } = await values.read(session.signal);
  if (value?.previous === undefined) return;
  await values.write({ current: value.current, previous: undefined }, version, session.signal);
}

/** Whether the hub keeps a root for the spoke. */
export function isPublished(spoke: FleetSpoke): boolean {
  return !spoke.suspended && spoke.fixedUrl === undefined;
}

/**
 * Waits until both registries hold the same root for each spoke: only then can the one that it reads now
 * send it to the other.
 *
 * @throws MigrationError `HubSilent`
 */
export async function rootsReady(session: Session, names: readonly string[]): Promise<void> {
  const { direction, ports, signal } = session;
  const waiting = new Set(names);
  const isReady = async (name: string): Promise<boolean> => {
    const there = await ports.registries.head(direction.target, rootTag(name), signal);
    if (there === undefined) return false;
    if (direction.target === 'from') {
      // The registry that is left may have failed; spokes that still read the other are not in need of it.
      const here = await ports.registries.head(direction.source, rootTag(name), signal).catch(() => there);
      return here === undefined || here === there;
    }
    return (await ports.registries.head(direction.source, rootTag(name), signal)) === there;
  };
  await session.until(
    async () => {
      await mapLimit([...waiting], 8, async (name) => {
        if (await isReady(name)) waiting.delete(name);
      });
      return waiting.values().next().value;
    },
    (name) =>
      new MigrationError(
        'HubSilent',
        `the hub has not published the root of spoke ${name} to ${session.target.url}`,
        {
          facts: { spoke: name, waiting: waiting.size },
          hint: 'Look for its reason in the log of hue; nothing was moved. Then run this again.',
          retryable: true,
        },
      ),
  );
}
