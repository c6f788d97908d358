import { type EcrHost, isValidRegistry, isValidRepository, parseEcrHost } from '@mural/oci';

/** What is wrong with a value, and what to write instead where that is clear. */
export interface Problem {
  readonly message: string;
  readonly fix?: string;
}

/** The parts of an endpoint `oci://host[:port][/path]`. */
export interface Endpoint {
  /** Host with its port. */
  readonly registry: string;
  /** Host alone, as written. */
  readonly host: string;
  /** What stands between host and repository: the namespace, or the alias of ECR Public; may be empty. */
  readonly path: string;
  readonly ecr: EcrHost | undefined;
}

const SCHEME = 'oci://';
const SHAPE = 'oci://host[:port][/path]';
/** Text that somebody is to replace, as documentation writes it: `<account-id>`. */
const PLACEHOLDER = /<[^\s<>](?:[^<>\n]{0,78}[^\s<>])?>/g;

/** The placeholders that a text still holds. */
export function placeholdersIn(text: string): readonly string[] {
  return [...new Set(text.match(PLACEHOLDER) ?? [])];
}

/** Reads an endpoint; `undefined` when {@link problemOfEndpoint} finds something wrong with it. */
export function readEndpoint(endpoint: string): Endpoint | undefined {
  if (problemOfEndpoint(endpoint) !== undefined || placeholdersIn(endpoint).length > 0) return undefined;
  const [registry = '', ...segments] = endpoint.slice(SCHEME.length).split('/');
  const host = registry.replace(/:\d+$/, '');
  return {
    registry,
    host,
    path: segments.join('/'),
    ecr: host === registry ? parseEcrHost(host) : undefined,
  };
}

/** What is wrong with an endpoint, if anything is. Nothing is repeated that may be a credential. */
export function problemOfEndpoint(endpoint: string): Problem | undefined {
  if (endpoint === '')
    return { message: `is empty: write ${SHAPE}, or leave it out for the embedded registry` };
  if (/\s/.test(endpoint)) return { message: 'must not hold white space' };
  if (endpoint.includes('@')) return { message: problemOfAt(endpoint) };
  if (/[?#]/.test(endpoint)) return { message: `must not hold a query or fragment: ${SHAPE}` };
  const corrected = correct(endpoint);
  const fix = isWhole(corrected) ? { fix: corrected } : {};
  const instead = isWhole(corrected) ? `: write ${corrected}` : ` (${SHAPE})`;
  if (/^http:\/\//i.test(endpoint)) {
    return { message: `must start with oci:// (${SHAPE}), and with insecure: true if it is plain HTTP` };
  }
  if (!endpoint.startsWith(SCHEME)) return { message: `must start with oci://${instead}`, ...fix };
  const rest = endpoint.slice(SCHEME.length);
  if (rest === '' || /^\/+$/.test(rest)) return { message: `names no host: ${SHAPE}` };
  if (rest.endsWith('/')) return { message: `must not end in a slash${instead}`, ...fix };
  if (rest.includes('//') || rest.startsWith('/')) {
    return { message: `must not hold a double slash${instead}`, ...fix };
  }
  return problemOfParts(rest, corrected);
}

/** What is wrong with an address that holds an at sign, which it must not. */
function problemOfAt(endpoint: string): string {
  return /@sha(?:256|384|512):[0-9a-f]*$/.test(endpoint)
    ? 'must not end in a digest: spokes read tags and digests that the hub names'
    : 'must not hold credentials; they belong into basicAuth';
}

function problemOfParts(rest: string, corrected: string): Problem | undefined {
  const [registry = '', ...segments] = rest.split('/');
  if (/[<>]/.test(rest)) return undefined;
  if (!isValidRegistry(registry)) return { message: `names no valid host: ${SHAPE}` };
  if (registry !== registry.toLowerCase()) {
    const fix = isWhole(corrected) ? { fix: corrected } : {};
    return { message: `must have its host in lower case: ${registry.toLowerCase()}`, ...fix };
  }
  const bad = segments.find((segment) => !isValidRepository(segment));
  if (bad === undefined) return undefined;
  if (bad.includes(':')) return { message: 'must not end in a tag: spokes read the tags that the hub names' };
  if (isValidRepository(bad.toLowerCase())) {
    return { message: `has upper case in its path: "${bad}"; names of repositories are lower case` };
  }
  return { message: `has an invalid path: "${bad}" (lower-case letters, digits and . _ - between them)` };
}

/** The same address as it must be written, as far as that is certain. */
function correct(endpoint: string): string {
  const bare = endpoint.replace(/^[a-zA-Z][a-zA-Z0-9+.-]*:\/+/, '').replace(/^\/+/, '');
  const [registry = '', ...segments] = bare.replace(/\/+$/, '').split(/\/+/);
  return [SCHEME + (/[<>]/.test(registry) ? registry : registry.toLowerCase()), ...segments].join('/');
}

function isWhole(endpoint: string): boolean {
  const [registry = '', ...segments] = endpoint.slice(SCHEME.length).split('/');
  return isValidRegistry(registry) && segments.every((segment) => isValidRepository(segment));
}

/** What is wrong with the name of a repository below an endpoint, if anything is. */
export function problemOfRepository(repository: string): string | undefined {
  if (repository.includes('@'))
    return problemOfAt(repository).replace(
      'must not hold credentials; they',
      'must not hold an @: credentials',
    );
  if (repository.includes('://')) return 'is a name below the endpoint, not a URL';
  if (repository.startsWith('/') || repository.endsWith('/')) return 'must not begin or end in a slash';
  if (isValidRepository(repository)) return undefined;
  if (/:[^/]*$/.test(repository)) return 'must not end in a tag: spokes read the tags that the hub names';
  return `is not a repository name: "${repository}" (lower-case letters, digits and . _ - between them)`;
}

/** ECR's own grammar of names (CreateRepository, `repositoryName`): single separators, 2 to 256 characters. */
const ECR_NAME = /^(?:[a-z0-9]+(?:[._-][a-z0-9]+)*\/)*[a-z0-9]+(?:[._-][a-z0-9]+)*$/;

/** Whether ECR can hold a repository of that name. */
export function isEcrRepository(name: string): boolean {
  return name.length >= 2 && name.length <= 256 && ECR_NAME.test(name);
}
