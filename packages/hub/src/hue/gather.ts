import {
  type Cache,
  type Environment,
  matchesSelector,
  objectKey,
  ReconcileError,
  type Spoke,
  type WorkloadDeployment,
  type WorkloadProfile,
} from '@mural/kube';
import { type Gathered, selectSpokes } from './fleet-render.ts';
import { usableDuration } from './root.ts';

/** Everything that the hub watches, in memory. */
export interface HubCaches {
  readonly profiles: Cache<WorkloadProfile>;
  readonly environments: Cache<Environment>;
  readonly deployments: Cache<WorkloadDeployment>;
  readonly spokes: Cache<Spoke>;
}

/** The longest value of a label: the name of a deployment is one, on its objects on the spokes. */
const MAX_NAME = 63;

/**
 * Brings together what a deployment is rendered from.
 *
 * @throws ReconcileError `stalling`: each of its causes ends with a change of an object that is watched
 */
export function gather(deployment: WorkloadDeployment, caches: HubCaches): Gathered {
  checkSpec(deployment, caches);
  const namespace = deployment.metadata.namespace ?? '';
  const { profileRef, environmentRef } = deployment.spec;
  const profile = caches.profiles.get(`${namespace}/${profileRef.name}`);
  if (profile === undefined) {
    throw stalled('ProfileNotFound', `there is no WorkloadProfile ${namespace}/${profileRef.name}`);
  }
  const environment = caches.environments.get(`${namespace}/${environmentRef.name}`);
  if (environment === undefined) {
    throw stalled('EnvironmentNotFound', `there is no Environment ${namespace}/${environmentRef.name}`);
  }
  const spokes = selectSpokes(environment, caches.spokes.list(), matchesSelector);
  return { deployment, profile, environment, spokes };
}

/** The condition for a deployment whose environment chooses nobody. */
export function noSpokes(environment: Environment, total: number): ReconcileError {
  const { spokeSelector, spokes } = environment.spec;
  const name = `environment ${objectKey(environment)}`;
  const message =
    spokeSelector === undefined && spokes === undefined
      ? `${name} selects no spoke: it has neither a spokeSelector nor spokes`
      : `${name} selects no spoke: none of ${total} spokes matches`;
  return stalled('NoSpokesSelected', message);
}

function checkSpec(deployment: WorkloadDeployment, caches: HubCaches): void {
  const { metadata, spec } = deployment;
  if ((metadata.name ?? '').length > MAX_NAME) {
    throw stalled('SpecInvalid', `the name is longer than ${MAX_NAME} characters, and labels hold no more`);
  }
  for (const field of ['interval', 'timeout'] as const) {
    const value = spec[field];
    if (value === undefined || usableDuration(value) !== undefined) continue;
    throw stalled(
      'SpecInvalid',
      `spec.${field}: ${JSON.stringify(value)} is not a duration; write one as 30s, 10m or 1h30m`,
    );
  }
  const cycle = dependencyCycle(deployment, caches.deployments);
  if (cycle !== undefined)
    throw stalled('DependencyCycle', `spec.dependsOn goes in a circle: ${cycle.join(' → ')}`);
}

/** The way along `dependsOn` that leads back to the deployment, if there is one. */
function dependencyCycle(
  deployment: WorkloadDeployment,
  deployments: Cache<WorkloadDeployment>,
): string[] | undefined {
  const start = objectKey(deployment);
  const seen = new Set<string>();
  const follow = (current: WorkloadDeployment, way: string[]): string[] | undefined => {
    for (const dependency of current.spec.dependsOn ?? []) {
      const key = `${dependency.namespace ?? current.metadata.namespace ?? ''}/${dependency.name}`;
      if (key === start) return [...way, key];
      const next = deployments.get(key);
      if (seen.has(key) || next === undefined) continue;
      seen.add(key);
      const found = follow(next, [...way, key]);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  return follow(deployment, [start]);
}

function stalled(reason: string, message: string): ReconcileError {
  return new ReconcileError('stalling', reason, message);
}
