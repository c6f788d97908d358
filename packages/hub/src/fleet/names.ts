/** Names of the objects that the hub keeps for a spoke, in the namespace of the hub where they have one. */
export function spokeNames(spoke: string): {
  readonly serviceAccount: string;
  readonly tokenSecret: string;
  readonly registrySecret: string;
  readonly clusterRole: string;
} {
  return {
    serviceAccount: `spoke-${spoke}`,
    tokenSecret: `spoke-${spoke}-token`,
    registrySecret: `spoke-${spoke}-registry`,
    clusterRole: `mural:spoke:${spoke}`,
  };
}

/** Finalizer of Spokes: their accounts go before they do. */
export const SPOKE_FINALIZER = 'mural.dev/accounts';

/** Annotation by which a token Secret names its ServiceAccount (core/v1). */
export const SERVICE_ACCOUNT_ANNOTATION = 'kubernetes.io/service-account.name';
