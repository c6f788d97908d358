import { isRecord } from '@mural/core';
import {
  conditionsOf,
  findCondition,
  objectKey,
  type Spoke,
  type WorkloadDeployment,
  type WorkloadProfile,
} from '@mural/kube';

/** An artifact that the fleet uses. */
export interface UsedArtifact {
  /** What it is found by at the source: a digest, or a tag that a component names. */
  readonly reference: string;
  /** Tags that the target gets, too. */
  readonly tags: readonly string[];
  /**
   * `required`: it must be at the target before anything moves. `reported`: a spoke says that it still
   * has it; it may have left the registry since. `input`: hue renders from it, by its tag.
   */
  readonly use: 'required' | 'reported' | 'input';
  /** Who uses it, for messages. */
  readonly user: string;
}

/** A spoke, as far as a migration is concerned. */
export interface FleetSpoke {
  readonly name: string;
  /** Repository that everything on it was last fetched from, as it reports. */
  readonly registryUrl: string | undefined;
  /** Repository that its root comes from, as it reports. */
  readonly rootRegistryUrl: string | undefined;
  /** Whether it has ever reported. */
  readonly reports: boolean;
  /** Whether its last report is recent. */
  readonly connected: boolean;
  readonly suspended: boolean;
  /** Repository that its own object names. */
  readonly ownUrl: string | undefined;
  /** The same, where it was written by hand, so that values do not move it. */
  readonly fixedUrl: string | undefined;
  /** Digests by workload: what the hub wants it to run, and what it reports to run. */
  readonly wanted: ReadonlyMap<string, string>;
  readonly running: ReadonlyMap<string, string>;
  /** What its last report complains about, in words. */
  readonly complaint: string | undefined;
}

/** The fleet at one moment. */
export interface Fleet {
  readonly spokes: readonly FleetSpoke[];
  readonly artifacts: readonly UsedArtifact[];
  readonly elsewhere: readonly ElsewhereArtifact[];
}

/** An artifact of a component that is not simply in the repository of the hub. */
export interface ElsewhereArtifact {
  /** The component, for messages. */
  readonly user: string;
  /** The repository that it names; absent when its reference is computed. */
  readonly url: string | undefined;
}

/** The objects that a fleet is read from. */
export interface FleetObjects {
  readonly spokes: readonly Spoke[];
  readonly deployments: readonly WorkloadDeployment[];
  readonly profiles: readonly WorkloadProfile[];
}

/** Field manager of what the hub's home writes into Spoke objects from its values. */
const VALUES_MANAGER = 'mural-values';
/** Reasons that the hub gives of spokes that it does not hear. */
const SILENT: ReadonlySet<string> = new Set(['NotJoined', 'HeartbeatMissed']);

/** Reads the fleet out of the API's objects; nothing is taken from a registry's list of tags. */
export function fleetOf(objects: FleetObjects): Fleet {
  const inputs = objects.profiles.map(inputsOf);
  const wanted = wantedBySpoke(objects.deployments);
  return {
    spokes: objects.spokes
      .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
      .map((spoke) => fleetSpoke(spoke, wanted.get(spoke.metadata.name ?? ''))),
    artifacts: mergeArtifacts([
      ...objects.deployments.flatMap(publishedBy),
      ...inputs.flatMap(({ artifacts }) => artifacts),
      ...objects.spokes.flatMap(reportedBy),
    ]),
    elsewhere: inputs.flatMap(({ elsewhere }) => elsewhere),
  };
}

/** What the statuses of the deployments record for each spoke. */
function wantedBySpoke(deployments: readonly WorkloadDeployment[]): Map<string, Map<string, string>> {
  const wanted = new Map<string, Map<string, string>>();
  for (const deployment of deployments) {
    if (deployment.metadata.deletionTimestamp !== undefined) continue;
    for (const { name, digest } of deployment.status?.spokes ?? []) {
      if (digest === undefined) continue;
      const ofSpoke = wanted.get(name) ?? new Map<string, string>();
      wanted.set(name, ofSpoke.set(objectKey(deployment), digest));
    }
  }
  return wanted;
}

function fleetSpoke(spoke: Spoke, wanted: ReadonlyMap<string, string> | undefined): FleetSpoke {
  const name = spoke.metadata.name ?? '';
  const { status } = spoke;
  const running = (status?.workloads ?? []).flatMap((workload) =>
    workload.digest === undefined
      ? []
      : [[`${workload.namespace}/${workload.name}`, workload.digest] as const],
  );
  return {
    name,
    registryUrl: status?.registryUrl,
    rootRegistryUrl: status?.rootRegistryUrl,
    reports: status?.lastHeartbeatTime !== undefined,
    connected: isConnected(spoke),
    suspended: spoke.spec?.suspend === true,
    ownUrl: ownUrl(spoke),
    fixedUrl: registryIsFromValues(spoke) ? undefined : ownUrl(spoke),
    wanted: wanted ?? new Map(),
    running: new Map(running),
    complaint: complaintOf(spoke),
  };
}

function isConnected(spoke: Spoke): boolean {
  const ready = findCondition(conditionsOf(spoke), 'Ready');
  return ready !== undefined && !SILENT.has(ready.reason);
}

function ownUrl({ spec }: Spoke): string | undefined {
  const registry = spec?.ociRegistry;
  if (registry === undefined) return undefined;
  return `${registry.endpoint.replace(/\/$/, '')}/${registry.repository}`;
}

/** Whether the values say which registry a spoke reads: it moves with them. Any other was written by hand. */
export function registryIsFromValues({ metadata }: Spoke): boolean {
  const owned = metadata.managedFields?.some(
    ({ manager, fieldsV1 }) =>
      manager === VALUES_MANAGER && JSON.stringify({ fieldsV1 }).includes('"f:ociRegistry"'),
  );
  return owned === true;
}

function complaintOf(spoke: Spoke): string | undefined {
  const unfetched = findCondition(conditionsOf(spoke), 'FetchFailed');
  if (unfetched?.status === 'True') return `FetchFailed, ${unfetched.reason}: ${unfetched.message}`;
  const failing = conditionsOf(spoke).find(({ status, type }) => status === 'False' && type !== 'Stalled');
  if (failing !== undefined) return `${failing.type} is False, ${failing.reason}: ${failing.message}`;
  const workload = spoke.status?.workloads?.find(({ ready }) => ready !== 'True');
  if (workload === undefined) return undefined;
  const { namespace, name, reason = 'Unknown', message = '' } = workload;
  return `workload ${namespace}/${name} is not ready, ${reason}: ${message}`;
}

function publishedBy(deployment: WorkloadDeployment): UsedArtifact[] {
  const user = `workload ${objectKey(deployment)}`;
  return (deployment.status?.spokes ?? []).flatMap(({ digest, tag, name }) =>
    digest === undefined
      ? []
      : [
          {
            reference: digest,
            tags: tag === undefined ? [] : [tag],
            use: 'required' as const,
            user: `${user} on spoke ${name}`,
          },
        ],
  );
}

function reportedBy({ metadata, status }: Spoke): UsedArtifact[] {
  const user = `spoke ${metadata.name ?? ''}`;
  const workloads = (status?.workloads ?? []).flatMap(({ digest }) => (digest === undefined ? [] : [digest]));
  const roots = [status?.rootDigest, status?.groupDigest].flatMap((digest) => digest ?? []);
  const digests = [...workloads, ...roots];
  return digests.map((reference) => ({ reference, tags: [], use: 'reported', user }));
}

/** The artifacts that a profile is rendered from. */
function inputsOf(profile: WorkloadProfile): { artifacts: UsedArtifact[]; elsewhere: ElsewhereArtifact[] } {
  const artifacts: UsedArtifact[] = [];
  const elsewhere: ElsewhereArtifact[] = [];
  for (const component of profile.spec.components) {
    const source = component.properties?.['artifact'];
    if (!isRecord(source)) continue;
    const user = `component ${component.name} of profile ${objectKey(profile)}`;
    const { url, tag, digest } = source;
    const named = textOf(tag);
    const reference = textOf(digest) ?? named ?? 'latest';
    if (typeof url === 'string') elsewhere.push({ user, url });
    else if (`${reference}${named ?? ''}`.includes('${')) elsewhere.push({ user, url: undefined });
    else {
      const tags = textOf(digest) === undefined ? [reference] : named === undefined ? [] : [named];
      artifacts.push({ reference, tags, use: 'input', user });
    }
  }
  return { artifacts, elsewhere };
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

const RANK = { required: 0, input: 1, reported: 2 } as const;

/** One entry for each reference, with all of its tags and the strictest of its uses. */
export function mergeArtifacts(artifacts: readonly UsedArtifact[]): UsedArtifact[] {
  const merged = new Map<string, UsedArtifact>();
  for (const artifact of artifacts) {
    const same = merged.get(artifact.reference);
    if (same === undefined) {
      merged.set(artifact.reference, artifact);
      continue;
    }
    const strict = RANK[artifact.use] < RANK[same.use] ? artifact : same;
    const isNew = artifact.tags.some((tag) => !same.tags.includes(tag));
    if (strict === same && !isNew) continue;
    merged.set(artifact.reference, { ...strict, tags: [...new Set([...same.tags, ...artifact.tags])] });
  }
  return [...merged.values()];
}
