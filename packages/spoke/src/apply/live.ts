import type { KubeClient, Resource, UnstructuredObject } from '@mural/kube';
import type { Identified } from './applier.ts';

/** From this many objects of one kind and namespace on, a list is cheaper than asking one by one. */
const LIST_FROM = 5;

/** The live state of objects, read for one run with as few calls as possible. */
export class LiveObjects {
  readonly #client: KubeClient;
  readonly #selector: string;
  readonly #signal: AbortSignal;
  readonly #listed = new Map<string, ReadonlyMap<string, UnstructuredObject>>();

  /** @param selector selects the objects that carry the labels of this owner */
  constructor(client: KubeClient, selector: string, signal: AbortSignal) {
    this.#client = client;
    this.#selector = selector;
    this.#signal = signal;
  }

  /** Lists the kinds and namespaces of which many objects will be asked for. */
  async prefetch(items: readonly Identified[]): Promise<void> {
    const groups = Map.groupBy(items, groupOf);
    for (const [group, members] of groups) {
      const [first] = members;
      if (first === undefined || members.length < LIST_FROM) continue;
      const list = await this.#client.list<UnstructuredObject>(first.resource, {
        namespace: first.desired.metadata.namespace,
        labelSelector: this.#selector,
        signal: this.#signal,
      });
      this.#listed.set(
        group,
        new Map(list.items.map((item) => [item.metadata.name ?? '', complete(item, first.resource)])),
      );
    }
  }

  /** The live object; from a list when there is one, which knows only objects with the owner's labels. */
  async get(item: Identified): Promise<UnstructuredObject | undefined> {
    const listed = this.#listed.get(groupOf(item))?.get(item.desired.metadata.name ?? '');
    return listed ?? (await this.fetch(item));
  }

  /** The live object, asked for by itself. */
  async fetch({
    resource,
    desired,
  }: Pick<Identified, 'resource' | 'desired'>): Promise<UnstructuredObject | undefined> {
    const { name = '', namespace } = desired.metadata;
    return this.#client.find<UnstructuredObject>(resource, { name, namespace }, { signal: this.#signal });
  }
}

function groupOf({ resource, desired }: Identified): string {
  return `${resource.group}/${resource.plural}/${desired.metadata.namespace ?? ''}`;
}

/** Items of a list may come without apiVersion and kind. */
function complete(item: UnstructuredObject, resource: Resource): UnstructuredObject {
  const apiVersion = resource.group === '' ? resource.version : `${resource.group}/${resource.version}`;
  return { ...item, apiVersion, kind: resource.kind };
}
