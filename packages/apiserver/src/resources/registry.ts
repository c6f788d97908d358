import type { Store } from '../storage/store.ts';
import type { SchemaSource } from '../schema/index.ts';
import { builtinResources } from './builtin.ts';
import { customResources } from './custom.ts';
import type { ApiResource } from './types.ts';
import { groupVersion } from './types.ts';

/** Where the rows of CustomResourceDefinitions are. */
export const CRD_STORAGE = 'apiextensions.k8s.io/customresourcedefinitions';

/** What the server serves: built-in resources and those of established CRDs. */
export class Resources {
  readonly #store: Store;
  readonly #builtin: readonly ApiResource[];
  readonly #builtinByPath: ReadonlyMap<string, ApiResource>;
  #custom: readonly ApiResource[] = [];
  #byPath = new Map<string, ApiResource>();
  #generation = 0;

  constructor(store: Store, schemas: SchemaSource) {
    this.#store = store;
    this.#builtin = builtinResources(schemas);
    this.#builtinByPath = new Map(this.#builtin.map((resource) => [pathOf(resource), resource]));
    this.#rebuild();
    store.onChange((changes) => {
      if (changes.some((change) => change.resource === CRD_STORAGE)) this.#rebuild();
    });
  }

  /** Counts the changes of what is served, so that what is derived from it can be kept. */
  get generation(): number {
    return this.#generation;
  }

  /** Every resource in every version, built-in ones first. */
  all(): readonly ApiResource[] {
    return [...this.#builtin, ...this.#custom];
  }

  builtin(): readonly ApiResource[] {
    return this.#builtin;
  }

  custom(): readonly ApiResource[] {
    return this.#custom;
  }

  find(group: string, version: string, plural: string): ApiResource | undefined {
    return this.#byPath.get(`${group}/${version}/${plural}`);
  }

  /** The resource that serves a kind. */
  byKind(apiVersion: string, kind: string): ApiResource | undefined {
    return this.all().find((resource) => groupVersion(resource) === apiVersion && resource.kind === kind);
  }

  /** A resource by the name of its rows, in the preferred version. */
  byStorage(storage: string): ApiResource | undefined {
    return this.all().find((resource) => resource.storage === storage);
  }

  #rebuild(): void {
    this.#generation += 1;
    this.#custom = this.#store
      .list(CRD_STORAGE)
      .flatMap(customResources)
      .filter((resource) => !this.#builtinByPath.has(pathOf(resource)));
    this.#byPath = new Map([
      ...this.#builtinByPath,
      ...this.#custom.map((one) => [pathOf(one), one] as const),
    ]);
  }
}

function pathOf(resource: ApiResource): string {
  return `${resource.group}/${resource.version}/${resource.plural}`;
}
