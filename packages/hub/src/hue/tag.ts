const MAX_TAG = 128;

/**
 * The tag of a workload artifact: `<namespace>.<name>-<12 hex digits of its content>`. It follows
 * from the content, so that a repository with immutable tags never sees another artifact under it.
 *
 * @param contentDigest digest of the archive before compression
 */
export function workloadTag(namespace: string, name: string, contentDigest: string): string {
  const suffix = `-${contentDigest.slice(contentDigest.indexOf(':') + 1).slice(0, 12)}`;
  // distribution-spec: [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}
  const prefix = `${namespace}.${name}`.replaceAll(/[^\w.-]/g, '_').slice(0, MAX_TAG - suffix.length);
  return `${prefix}${suffix}`;
}
