import type { ResourceName } from '../status.ts';
import type { TypeSchema } from '../schema/index.ts';

/** A verb of the API, as discovery lists it and RBAC names it. */
export type Verb = 'create' | 'delete' | 'deletecollection' | 'get' | 'list' | 'patch' | 'update' | 'watch';

/** A subresource as discovery lists it. */
export interface Subresource {
  readonly name: string;
  readonly kind: string;
  readonly verbs: readonly string[];
  /** Where the kind of the subresource lives, if not where the resource does (`autoscaling/v1` `Scale`). */
  readonly group?: string;
  readonly version?: string;
}

/** A column of a table. */
export interface Column {
  readonly name: string;
  readonly type: string;
  readonly format: string;
  readonly priority: number;
  readonly description?: string;
  /** The value's place in a custom object, for columns of a CRD. */
  readonly jsonPath?: string;
}

/** What only custom resources have. */
export interface CustomResource {
  readonly crd: string;
  readonly columns: readonly Column[];
  /** JSON paths of the scale subresource. */
  readonly scale: { readonly spec: string; readonly status: string; readonly selector?: string } | undefined;
  readonly warning: string | undefined;
  /** JSON paths that field selectors may name. */
  readonly selectable: readonly string[];
  readonly terminating: boolean;
}

/** One resource in one version, as it is served. */
export interface ApiResource extends ResourceName {
  readonly version: string;
  readonly kind: string;
  readonly listKind: string;
  readonly singular: string;
  readonly namespaced: boolean;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly verbs: readonly string[];
  readonly subresources: ReadonlyMap<string, Subresource>;
  /** The name of its rows in the store: all versions of a resource share it. */
  readonly storage: string;
  /** Its structure; `undefined` for what is not known to have one. */
  readonly schema: () => TypeSchema | undefined;
  readonly custom: CustomResource | undefined;
}

/** `apps/v1`, or `v1` in the core group. */
export function groupVersion(resource: { readonly group: string; readonly version: string }): string {
  return resource.group === '' ? resource.version : `${resource.group}/${resource.version}`;
}
