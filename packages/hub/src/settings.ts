import { createHash } from 'node:crypto';
import { formatDuration, parseDuration } from '@mural/core';
import type { SpokeRegistry } from '@mural/kube';

/** How a spoke reaches the registry: what goes into its OCIRepository objects. */
export interface SpokeRegistrySettings {
  /** Repository, as `oci://host/path`. */
  readonly url: string;
  /** Plain HTTP. */
  readonly insecure?: boolean | undefined;
  /** How often the spoke looks for a new root, as a Flux duration (`5m`). */
  readonly interval: string;
  /** Limit of one pull, as a Flux duration (`60s`). */
  readonly timeout: string;
  readonly provider?: SpokeRegistry['provider'];
  /**
   * Which Secrets its sources refer to. Unless told: the credential with the provider `generic`,
   * and the CA with that provider over TLS.
   */
  readonly secrets?: { readonly credential?: boolean; readonly ca?: boolean } | undefined;
}

/** Secret of a spoke with the credential of the registry (`.dockerconfigjson`). */
export const REGISTRY_SECRET = 'mural-registry';
/** Secret of a spoke with the CA of the registry (`ca.crt`). */
export const REGISTRY_CA_SECRET = 'mural-registry-ca';
/** Secret of a spoke with its way to the hub (`kubeconfig`, `name`). */
export const HUB_SECRET = 'mural-hub';
/** OCIRepository and Kustomization that deliver the root of a spoke. */
export const ROOT_NAME = 'mural-root';
/** OCIRepository and Kustomization that deliver the workloads of a spoke, from the artifact of its group. */
export const GROUP_NAME = 'mural-group';

/** The part of an OCIRepository's spec that follows from the registry alone. */
export function sourceSettings(settings: SpokeRegistrySettings): Record<string, unknown> {
  const generic = (settings.provider ?? 'generic') === 'generic';
  const credential = settings.secrets?.credential ?? generic;
  const ca = settings.secrets?.ca ?? (generic && settings.insecure !== true);
  return {
    url: settings.url,
    interval: settings.interval,
    timeout: settings.timeout,
    ...(settings.provider === undefined ? {} : { provider: settings.provider }),
    ...(settings.insecure === true ? { insecure: true } : {}),
    ...(credential ? { secretRef: { name: REGISTRY_SECRET } } : {}),
    ...(ca ? { certSecretRef: { name: REGISTRY_CA_SECRET } } : {}),
  };
}

/**
 * The spec of the source of a spoke's root. It changes only when the spoke moves to another group or
 * registry, so it is looked at less often than the group; connected spokes are told besides.
 */
export function rootSource(spoke: string, settings: SpokeRegistrySettings): Record<string, unknown> {
  const interval = formatDuration(ROOT_INTERVALS * parseDuration(settings.interval));
  return { ...sourceSettings(settings), interval, ref: { tag: rootTag(spoke) } };
}

/** Intervals between two looks at the root of a spoke. */
const ROOT_INTERVALS = 3;

/** Characters of a tag (distribution-spec, pull). */
const TAG_LIMIT = 128;
/** Characters of a folder in an archive: USTAR has 100 for its name. */
export const FOLDER_LIMIT = 96;

/** The tag of a spoke's root, which moves. */
export function rootTag(spoke: string): string {
  return shortened(`spoke-${spoke}`, TAG_LIMIT);
}

/** The tag of a group's artifact, which moves. */
export function groupTag(id: string): string {
  return `group-${id}`;
}

/** The folder of a spoke in the artifact of its group. */
export function spokeFolder(spoke: string): string {
  return `spokes/${shortened(spoke, FOLDER_LIMIT)}`;
}

function shortened(name: string, limit: number): string {
  if (name.length <= limit) return name;
  // Two long names that begin alike must not become one.
  const digest = createHash('sha256').update(name).digest('hex').slice(0, 12);
  return `${name.slice(0, limit - 1 - digest.length)}-${digest}`;
}
