import { createHash } from 'node:crypto';
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

/** Characters of a tag (distribution-spec, pull). */
const TAG_LIMIT = 128;

/** The tag of a spoke's root, which moves. */
export function rootTag(spoke: string): string {
  const tag = `spoke-${spoke}`;
  if (tag.length <= TAG_LIMIT) return tag;
  // Two long names that begin alike must not share a root.
  const digest = createHash('sha256').update(spoke).digest('hex').slice(0, 12);
  return `${tag.slice(0, TAG_LIMIT - 1 - digest.length)}-${digest}`;
}
