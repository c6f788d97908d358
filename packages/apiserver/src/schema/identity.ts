import { canonicalJson, isRecord } from '@mural/core';
import type { TypeSchema } from './types.ts';

/** What tells an item of a list from others. */
export interface ItemIdentity {
  readonly key: string;
  /** What a message shows of it. */
  readonly shown: unknown;
}

/** The identity of an item of a set (its value) or of a map list (its keys), if it has one. */
export function itemIdentity(schema: TypeSchema, item: unknown): ItemIdentity | undefined {
  if (schema.listType === 'set') return { key: canonicalJson(item), shown: item };
  if (schema.listType !== 'map' || !isRecord(item)) return undefined;
  const shown = Object.fromEntries(
    (schema.listMapKeys ?? []).map((name) => [name, item[name] ?? schema.items?.properties?.[name]?.default]),
  );
  return { key: canonicalJson(shown), shown };
}
