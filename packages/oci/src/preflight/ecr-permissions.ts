import type { RegistryClient } from '../client.ts';
import type { OciError } from '../errors.ts';
import { bad, type Found, ok, skip } from './check.ts';
import { arnOf, type EcrPlace, repositoryPolicyCommand, principalOf, statementFor } from './ecr-fixes.ts';
import { type PreflightOptions, pulls, pushes } from './options.ts';
import { putDangling, refusalOf, unknownDigest, unknownTag, type Verdict, verdictOf } from './trials.ts';

/** What the trials of permissions work with. */
export interface EcrTarget {
  readonly options: PreflightOptions;
  readonly place: EcrPlace;
  readonly client: RegistryClient;
  /** Who asks; absent when STS did not say. */
  readonly caller: { readonly account: string; readonly arn: string } | undefined;
}

/** What is known of a repository from permissions that were tried so far. */
export interface ReadTrials {
  readonly found: readonly Found[];
  readonly exists: 'yes' | 'no' | 'unknown';
}

/**
 * Tries the permissions that read, each with a request for what is not there.
 *
 * @param availability what the API says of BatchCheckLayerAvailability: HEAD of a blob of ECR Public is
 *   answered to everybody, so that it tells nothing
 */
export async function tryReads(
  target: EcrTarget,
  availability: () => Promise<OciError | undefined>,
): Promise<ReadTrials> {
  const { client, place, options } = target;
  const { repository, ecr } = place;
  const { signal } = options;
  const isPrivate = ecr.kind === 'private';
  const manifest = verdictOf(await refusalOf(client.getManifest(repository, unknownTag(), signal), signal));
  const verdicts: [string, Verdict][] = [['BatchGetImage', manifest]];
  if (pulls(options)) {
    const blob = client.getBlob(repository, { digest: unknownDigest(), size: 1 }, signal);
    verdicts.push(['GetDownloadUrlForLayer', verdictOf(await refusalOf(blob, signal))]);
  }
  // An answer with a text tells a repository without the thing from no repository; one to HEAD has none.
  const texts = verdicts.map(([, verdict]) => verdict);
  if (pushes(options)) {
    const head = client.headBlob(repository, { digest: unknownDigest() }, signal);
    const seen = verdictOf(await refusalOf(head, signal), true);
    const asked = verdictOf(await availability());
    texts.push(asked);
    verdicts.push(['BatchCheckLayerAvailability', worseOf(asked, seen)]);
  }
  const needed = verdicts.filter(([name]) => isPrivate || name === 'BatchCheckLayerAvailability');
  const found = needed.map(([name, verdict]) => foundOf(target, name, verdict));
  return { found, exists: existenceOf(texts) };
}

/** Of the same question asked in two ways: a denial counts, then what is clear. */
function worseOf(asked: Verdict, seen: Verdict): Verdict {
  if (asked.kind === 'denied') return asked;
  return seen.kind === 'denied' || asked.kind === 'unclear' ? seen : asked;
}

function existenceOf(verdicts: readonly Verdict[]): ReadTrials['exists'] {
  if (verdicts.some(({ kind }) => kind === 'no-repository')) return 'no';
  return verdicts.some(({ kind }) => kind === 'allowed') ? 'yes' : 'unknown';
}

/** Tries the permissions that write. Nothing is left in the repository. */
export async function tryWrites(target: EcrTarget): Promise<readonly Found[]> {
  const { client, place, options } = target;
  const { signal } = options;
  const upload = await client.tryUpload(place.repository, signal);
  const begin = foundOf(target, 'InitiateLayerUpload', verdictOf(upload.begin));
  const found = [begin];
  const steps = [
    ['UploadLayerPart', 'send'],
    ['CompleteLayerUpload', 'end'],
  ] as const;
  for (const [action, step] of steps) {
    found.push(
      step in upload
        ? foundOf(target, action, verdictOf(upload[step]))
        : skip(`${place.api.service}:${action}`, 'not tried: no upload could be begun'),
    );
  }
  const { refusal, digest } = await putDangling(client, place.repository, signal);
  const put = foundOf(target, 'PutImage', verdictOf(refusal));
  found.push(refusal === undefined ? await takeBack(target, digest) : put);
  return found;
}

/** ECR refuses such a manifest as documented; one that took it must not keep it. */
async function takeBack({ client, place, options }: EcrTarget, digest: string): Promise<Found> {
  const check = `${place.api.service}:PutImage`;
  const refusal = await refusalOf(
    client.deleteManifest(place.repository, digest, options.signal),
    options.signal,
  );
  if (refusal === undefined) return ok(check, 'allowed');
  return bad(
    'warn',
    check,
    `allowed; the registry took a manifest of this check whose layers it does not have, and it is still there: ${digest}`,
    `aws ${place.api.service} batch-delete-image --repository-name ${place.name} --region ${place.api.region} --image-ids imageDigest=${digest}`,
  );
}

function foundOf(target: EcrTarget, name: string, verdict: Verdict): Found {
  const { place } = target;
  const action = `${place.api.service}:${name}`;
  switch (verdict.kind) {
    case 'allowed':
      return ok(action, 'allowed');
    case 'no-repository':
      return ok(action, 'not denied');
    case 'unclear':
      return bad('warn', action, `could not be told: ${verdict.error.message}`, verdict.error.hint);
    case 'denied':
      return denied(target, verdict.action ?? action, verdict.error.message);
  }
}

/** A denial, with what has to be written where. */
export function denied(target: EcrTarget, action: string, said: string): Found {
  const { place, options, caller } = target;
  const account = place.ecr.kind === 'public' ? caller?.account : place.ecr.account;
  const who = caller === undefined ? 'this identity' : principalOf(caller.arn);
  const anyResource = !/^ecr(-public)?:/.test(action) || action.endsWith(':GetAuthorizationToken');
  const statement = statementFor(action, anyResource ? '*' : arnOf(place, account));
  if (/explicit deny/i.test(said)) {
    const where = /explicit deny in an? ([a-z -]{3,60}?policy)/i.exec(said)?.[1] ?? 'policy';
    return bad(
      'fail',
      action,
      `denied: ${said}`,
      `take ${action} out of the Deny of the ${where} that applies to ${who}`,
    );
  }
  if (/no resource-based policy allows/i.test(said)) {
    return bad('fail', action, `denied: ${said}`, repositoryPolicyCommand(place, who, [action]));
  }
  if (/no VPC endpoint policy allows/i.test(said)) {
    return bad('fail', action, `denied: ${said}`, `allow ${action} in the policy of the VPC endpoint of ECR`);
  }
  return bad(
    'fail',
    action,
    `denied: ${said}`,
    `add to an IAM policy of ${who}: ${statement} (${options.policyCommand} prints all of it)`,
  );
}
