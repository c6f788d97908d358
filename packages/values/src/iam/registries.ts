import { type EcrHost, parseEcrHost } from '@mural/oci';
import type { Values } from '../schema.ts';

/** A repository of ECR that the values name. */
export interface EcrRepository {
  /** The endpoint's host. */
  readonly host: string;
  readonly ecr: EcrHost;
  /** As ECR calls it: `namespace/name` for private, without the alias for public. */
  readonly name: string;
  /** `oci://host/path/repository`. */
  readonly url: string;
}

/** The repositories of ECR in the values: the one that the hub writes, and those that spokes read. */
export interface EcrRepositories {
  readonly hub: EcrRepository | undefined;
  /** Each once; that of the hub where a spoke names none of its own. */
  readonly spokes: readonly EcrRepository[];
}

/** Reads the repositories of ECR out of values that passed the lint. */
export function ecrRepositories(values: Values): EcrRepositories {
  const { ociRegistry } = values.hue;
  const hub = ociRegistry.enabled ? repositoryOf(ociRegistry.endpoint, ociRegistry.repository) : undefined;
  const spokes = values.fleetConfig.spokes.map(({ ociRegistry: own }) =>
    own?.endpoint === undefined ? hub : repositoryOf(own.endpoint, own.repository),
  );
  const read = spokes.length === 0 ? [hub] : spokes;
  const unique = new Map(
    read.flatMap((repository) => (repository === undefined ? [] : [[repository.url, repository]])),
  );
  return { hub, spokes: [...unique.values()] };
}

function repositoryOf(
  endpoint: string | undefined,
  repository: string | undefined,
): EcrRepository | undefined {
  if (endpoint === undefined || repository === undefined) return undefined;
  const [host = '', ...segments] = endpoint.replace(/^oci:\/\//, '').split('/');
  const ecr = parseEcrHost(host);
  if (ecr === undefined) return undefined;
  // The alias of ECR Public is an address, and no part of the name.
  const path = ecr.kind === 'public' ? segments.slice(1) : segments;
  return { host, ecr, name: [...path, repository].join('/'), url: `${endpoint}/${repository}` };
}
