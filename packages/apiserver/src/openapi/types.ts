import type { TypeSchema } from '../schema/index.ts';

/** A resource that the documents describe. */
export interface ServedResource {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  /** As in URLs. */
  readonly plural: string;
  readonly namespaced: boolean;
  readonly schema: TypeSchema;
}

/** A JSON object under construction. */
export type Document = Record<string, unknown>;
