import { canonicalJson, isRecord } from '@mural/core';
import { omit, type TypeSchema } from '../schema/types.ts';
import type { Fields } from './atoms.ts';
import { difference, EMPTY_SET, type FieldSet } from './field-set.ts';
import { compareObjects, fieldSetOf } from './ownership.ts';

const ANNOTATION = 'kubectl.kubernetes.io/last-applied-configuration';

/**
 * The fields of the object's last-applied annotation that still have the value it says: those that
 * `kubectl apply --server-side` may take from client-side apply without a conflict.
 */
export function lastAppliedFields(live: Fields, schema: TypeSchema | undefined): FieldSet {
  const annotation = annotationsOf(live)[ANNOTATION];
  if (typeof annotation !== 'string') return EMPTY_SET;
  const applied = parse(annotation);
  if (applied === undefined) return EMPTY_SET;
  const { changed, removed } = compareObjects(applied, live, schema);
  return difference(difference(fieldSetOf(applied, schema), changed), removed);
}

function parse(annotation: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(annotation);
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** The object with its last-applied annotation, if it has one, saying what was just applied. */
export function withCurrentLastApplied(object: Fields, applied: Fields): Fields {
  const annotations = annotationsOf(object);
  const before = annotations[ANNOTATION];
  if (typeof before !== 'string' || before === '') return object;
  const after = encode(applied);
  if (after === before) return object;
  const metadata = isRecord(object['metadata']) ? object['metadata'] : {};
  return { ...object, metadata: { ...metadata, annotations: { ...annotations, [ANNOTATION]: after } } };
}

/** The JSON of the object with its keys sorted and markup escaped, as the API writes it. */
function encode(applied: Fields): string {
  const metadata = isRecord(applied['metadata']) ? applied['metadata'] : {};
  const annotations = omit(annotationsOf(applied), ANNOTATION);
  const declared = isRecord(metadata['annotations']) ? { ...metadata, annotations } : metadata;
  const json = canonicalJson({ ...applied, metadata: declared });
  return `${json.replace(/[<>&\u2028\u2029]/g, (mark) => `\\u${mark.charCodeAt(0).toString(16).padStart(4, '0')}`)}\n`;
}

function annotationsOf(object: Fields): Fields {
  const metadata = object['metadata'];
  const annotations = isRecord(metadata) ? metadata['annotations'] : undefined;
  return isRecord(annotations) ? annotations : {};
}
