import { isRecord } from '@mural/core';
import { setField } from '../schema/types.ts';

/** Nesting beyond this is kept as the patch has it. */
const MAX_DEPTH = 1000;

/** Applies a JSON merge patch (RFC 7396). The input is not changed. */
export function mergePatch(doc: unknown, patch: unknown): unknown {
  return merged(doc, patch, 0);
}

function merged(doc: unknown, patch: unknown, depth: number): unknown {
  if (!isRecord(patch) || depth > MAX_DEPTH) return patch;
  const result: Record<string, unknown> = isRecord(doc) ? { ...doc } : {};
  for (const key of Object.keys(patch)) {
    const value = patch[key];
    if (value === null) Reflect.deleteProperty(result, key);
    else
      setField(result, key, merged(Object.hasOwn(result, key) ? result[key] : undefined, value, depth + 1));
  }
  return result;
}
