/** What is wrong with a value, and what to write instead where that is clear. */
interface Problem {
  readonly message: string;
  readonly fix?: string;
}

// distribution-spec, "Pulling manifests": the grammar of <name>; host[:port] as in a URL.
const HOST = /^(?:\[[0-9a-fA-F:]+\]|[a-zA-Z0-9](?:[-a-zA-Z0-9.]*[a-zA-Z0-9])?)(?::[0-9]{1,5})?$/;
const SEGMENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;

/** What is wrong with an endpoint `oci://host[:port][/path]`, if anything is. */
export function problemOfEndpoint(endpoint: string): Problem | undefined {
  const shape = 'oci://host[:port][/path]';
  if (!endpoint.startsWith('oci://')) {
    const bare = endpoint.replace(/^[a-zA-Z][a-zA-Z0-9+.-]*:\/\//, '');
    return { message: `must start with oci:// (${shape})`, fix: `oci://${bare}` };
  }
  const [host = '', ...segments] = endpoint.slice('oci://'.length).replace(/\/$/, '').split('/');
  if (host.includes('@')) return { message: 'must not hold credentials; they belong into basicAuth' };
  if (/[<>]/.test(endpoint)) return { message: 'still holds a placeholder in <>' };
  if (!HOST.test(host)) return { message: `names no valid host: ${shape}` };
  const bad = segments.find((segment) => !SEGMENT.test(segment));
  if (bad === undefined) return undefined;
  if (/[:@]/.test(bad)) return { message: 'must not end in a tag or digest' };
  return { message: `has an invalid path: "${bad}" (lower-case letters, digits and . _ - between them)` };
}

/** What is wrong with the name of a repository below an endpoint, if anything is. */
export function problemOfRepository(repository: string): string | undefined {
  if (/[<>]/.test(repository)) return `still holds a placeholder: "${repository}"`;
  if (repository.includes('://')) return 'is a name below the endpoint, not a URL';
  const bad = repository.split('/').find((segment) => !SEGMENT.test(segment));
  if (bad === undefined) return undefined;
  if (/[:@]/.test(bad)) return 'must not end in a tag or digest';
  return `is not a repository name: "${repository}" (lower-case letters, digits and . _ - between them)`;
}
