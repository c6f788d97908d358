import { ApiError } from '../status.ts';

/** How an answer is to be encoded and shaped. */
export interface Presentation {
  readonly encoding: 'json' | 'yaml';
  readonly as: 'object' | 'table' | 'metadata' | 'metadata-list';
  /** The version of `meta.k8s.io` that was asked for. */
  readonly metaVersion: string;
}

const SHAPES: Readonly<Record<string, Presentation['as']>> = {
  Table: 'table',
  PartialObjectMetadata: 'metadata',
  PartialObjectMetadataList: 'metadata-list',
};
const JSON_TYPES = new Set([
  '*/*',
  'application/*',
  'application/json',
  // Whoever asks for protobuf reads the answer by its own Content-Type: JSON.
  'application/vnd.kubernetes.protobuf',
  'application/vnd.kubernetes.protobuf;stream=watch',
]);
const PLAIN: Presentation = { encoding: 'json', as: 'object', metaVersion: 'v1' };

/**
 * The first acceptable clause of an `Accept` header, in the order of the client's writing.
 *
 * @throws ApiError `NotAcceptable`
 */
export function negotiate(accept: string | undefined): Presentation {
  if (accept === undefined || accept.trim() === '') return PLAIN;
  for (const clause of accept.split(',').slice(0, 50)) {
    const found = readClause(clause);
    if (found !== undefined) return found;
  }
  throw new ApiError(
    'NotAcceptable',
    'only the following media types are accepted: application/json, application/yaml, ' +
      'application/vnd.kubernetes.protobuf',
  );
}

function readClause(clause: string): Presentation | undefined {
  const [type = '', ...rest] = clause.split(';').map((part) => part.trim());
  const parameters = new Map(rest.map((part) => part.split('=', 2) as [string, string | undefined]));
  const encoding =
    type === 'application/yaml' ? 'yaml' : JSON_TYPES.has(type.toLowerCase()) ? 'json' : undefined;
  if (encoding === undefined) return undefined;
  const as = parameters.get('as');
  if (as === undefined) return { ...PLAIN, encoding };
  const shape = SHAPES[as];
  if (shape === undefined || parameters.get('g') !== 'meta.k8s.io') return undefined;
  return { encoding, as: shape, metaVersion: parameters.get('v') ?? 'v1' };
}
