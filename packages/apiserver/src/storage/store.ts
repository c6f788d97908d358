import type { Stored } from '../objects.ts';
import { withMeta } from '../objects.ts';
import type { Database, RowChange } from './database.ts';
import type { Change, HistoryLimits } from './history.ts';
import { History } from './history.ts';

/** Reads and writes of one transaction: it sees committed state and what waits in the same batch. */
export interface Transaction {
  get(resource: string, namespace: string, name: string): Stored | undefined;
  list(resource: string, namespace?: string): Stored[];
  /** Stores the object under the next revision, which becomes its resourceVersion. */
  put(resource: string, object: Stored): Stored;
  /** Removes the object; the answer is its last state under the revision of the removal. */
  remove(resource: string, object: Stored): Stored;
}

/** Hears of the committed changes, batch by batch, in order. */
export type ChangeListener = (changes: readonly Change[]) => void;

interface Waiting {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** The past that is kept: enough for a client that was away for minutes, bounded for the memory's sake. */
const HISTORY: HistoryLimits = { changes: 20_000, bytes: 64 * 1024 * 1024 };

/**
 * All objects: current state in memory, every write in SQLite before it is acknowledged or seen.
 *
 * Writes that arrive in the same turn of the event loop share one SQLite transaction. Each decides
 * on what the ones before it left, so optimistic locks hold within a batch too.
 */
export class Store {
  readonly #database: Database;
  readonly #tables = new Map<string, Table>();
  readonly #history: History;
  readonly #listeners = new Set<ChangeListener>();
  readonly #wakers = new Map<string, Set<() => void>>();
  #revision: number;
  #pending: Change[] = [];
  #overlay = new Map<string, Stored | undefined>();
  #waiting: Waiting[] = [];
  #flushing: NodeJS.Immediate | undefined;
  #closed = false;

  constructor(database: Database, limits: HistoryLimits = HISTORY) {
    this.#database = database;
    this.#revision = Math.max(1, database.revision());
    this.#history = new History(this.#revision, limits);
    try {
      for (const row of database.rows()) this.#table(row.resource).set(row.namespace, row.name, row.object);
    } catch (error) {
      database.close();
      throw error;
    }
  }

  /** The revision of the last committed change: the resourceVersion of a list taken now. */
  get revision(): number {
    return this.#revision;
  }

  /** Changes after this revision can be replayed. */
  get floor(): number {
    return this.#history.floor;
  }

  get(resource: string, namespace: string, name: string): Stored | undefined {
    return this.#tables.get(resource)?.get(namespace, name);
  }

  /** The objects of a resource in the order of their keys; of one namespace when it is given. */
  list(resource: string, namespace?: string): Stored[] {
    return this.#tables.get(resource)?.list(namespace) ?? [];
  }

  /** The resources that hold objects. */
  resources(): string[] {
    return [...this.#tables].filter(([, table]) => table.size > 0).map(([resource]) => resource);
  }

  /** The committed changes of one resource after `revision`, which must not lie below {@link floor}. */
  changesAfter(revision: number, resource: string): Change[] {
    return this.#history.after(revision, resource);
  }

  /** The state of a resource as it was at `revision` (at or above {@link floor}), in the order of keys. */
  listAt(revision: number, resource: string, namespace?: string): Stored[] {
    if (revision >= this.#revision) return this.list(resource, namespace);
    const past = new Map(this.list(resource, namespace).map((object) => [keyOf(object), object]));
    for (const change of this.changesAfter(revision, resource).reverse()) {
      if (namespace !== undefined && change.namespace !== namespace) continue;
      const key = `${change.namespace}/${change.name}`;
      if (change.previous === undefined) past.delete(key);
      else past.set(key, change.previous);
    }
    return [...past].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, object]) => object);
  }

  /**
   * Runs `decide` at once and resolves with its result when what it wrote is durable and visible.
   * What it throws rejects the promise, and nothing of it is written.
   */
  async write<T>(decide: (transaction: Transaction) => T): Promise<T> {
    if (this.#closed) throw new Error('the store is closed');
    const before = this.#pending.length;
    const undo = new Map<string, { readonly had: boolean; readonly value: Stored | undefined }>();
    let result: T;
    try {
      result = decide(this.#transaction(undo));
    } catch (error) {
      this.#pending.length = before;
      for (const [place, old] of undo) {
        if (old.had) this.#overlay.set(place, old.value);
        else this.#overlay.delete(place);
      }
      throw error;
    }
    // Even a decision that wrote nothing waits for the batch it was based on.
    if (this.#pending.length > 0) await this.#flushed();
    return result;
  }

  /** Calls `listener` after each committed batch until the returned function is called. */
  onChange(listener: ChangeListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Calls `wake` after each batch that changed the resource, until the returned function is called. */
  onResourceChange(resource: string, wake: () => void): () => void {
    const wakers = this.#wakers.get(resource) ?? new Set();
    this.#wakers.set(resource, wakers);
    wakers.add(wake);
    return () => {
      wakers.delete(wake);
      if (wakers.size === 0) this.#wakers.delete(resource);
    };
  }

  /** Writes what waits and closes the file. */
  close(): void {
    if (this.#closed) return;
    clearImmediate(this.#flushing);
    this.#flush();
    this.#closed = true;
    this.#database.close();
  }

  #transaction(
    undo: Map<string, { readonly had: boolean; readonly value: Stored | undefined }>,
  ): Transaction {
    const change = (resource: string, object: Stored, removed: boolean): Stored => {
      const revision = this.#revision + this.#pending.length + 1;
      const stored = withMeta(object, { resourceVersion: String(revision) });
      const namespace = object.metadata.namespace ?? '';
      const name = object.metadata.name ?? '';
      const previous = this.#head(resource, namespace, name);
      const place = `${resource}\0${namespace}/${name}`;
      if (!undo.has(place))
        undo.set(place, { had: this.#overlay.has(place), value: this.#overlay.get(place) });
      this.#overlay.set(place, removed ? undefined : stored);
      this.#pending.push({ revision, resource, namespace, name, object: stored, previous, removed });
      return stored;
    };
    return {
      get: (resource, namespace, name) => this.#head(resource, namespace, name),
      list: (resource, namespace) => this.#headList(resource, namespace),
      put: (resource, object) => change(resource, object, false),
      remove: (resource, object) => change(resource, object, true),
    };
  }

  #head(resource: string, namespace: string, name: string): Stored | undefined {
    const place = `${resource}\0${namespace}/${name}`;
    return this.#overlay.has(place) ? this.#overlay.get(place) : this.get(resource, namespace, name);
  }

  #headList(resource: string, namespace?: string): Stored[] {
    const committed = this.list(resource, namespace);
    const touched = this.#pending.filter(
      (change) => change.resource === resource && (namespace === undefined || change.namespace === namespace),
    );
    if (touched.length === 0) return committed;
    const head = new Map(committed.map((object) => [keyOf(object), object]));
    for (const change of touched) {
      const key = `${change.namespace}/${change.name}`;
      if (change.removed) head.delete(key);
      else head.set(key, change.object);
    }
    return [...head.values()];
  }

  async #flushed(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    this.#waiting.push({ resolve: () => resolve(undefined), reject });
    this.#flushing ??= setImmediate(() => this.#flush());
    await promise;
  }

  #flush(): void {
    this.#flushing = undefined;
    const [changes, waiting] = [this.#pending, this.#waiting];
    this.#pending = [];
    this.#waiting = [];
    this.#overlay = new Map();
    if (changes.length === 0) {
      for (const waiter of waiting) waiter.resolve();
      return;
    }
    const revision = this.#revision + changes.length;
    try {
      this.#database.commit(changes.map(rowChange), revision);
    } catch (error) {
      for (const waiter of waiting) waiter.reject(error);
      return;
    }
    this.#revision = revision;
    for (const change of changes) {
      const table = this.#table(change.resource);
      if (change.removed) table.remove(change.namespace, change.name);
      else table.set(change.namespace, change.name, change.object);
      this.#history.add(change);
    }
    for (const listener of this.#listeners) listener(changes);
    for (const resource of new Set(changes.map((change) => change.resource))) {
      for (const wake of [...(this.#wakers.get(resource) ?? [])]) wake();
    }
    for (const waiter of waiting) waiter.resolve();
  }

  #table(resource: string): Table {
    let table = this.#tables.get(resource);
    if (table === undefined) {
      table = new Table();
      this.#tables.set(resource, table);
    }
    return table;
  }
}

function rowChange(change: Change): RowChange {
  const { resource, namespace, name, removed, object } = change;
  return { resource, namespace, name, object: removed ? undefined : object };
}

function keyOf(object: Stored): string {
  return `${object.metadata.namespace ?? ''}/${object.metadata.name ?? ''}`;
}

/** The objects of one resource, listed in the order of `namespace/name`. */
class Table {
  readonly #objects = new Map<string, Stored>();
  #sorted: string[] | undefined;

  get size(): number {
    return this.#objects.size;
  }

  get(namespace: string, name: string): Stored | undefined {
    return this.#objects.get(`${namespace}/${name}`);
  }

  set(namespace: string, name: string, object: Stored): void {
    const key = `${namespace}/${name}`;
    if (!this.#objects.has(key)) this.#sorted = undefined;
    this.#objects.set(key, object);
  }

  remove(namespace: string, name: string): void {
    if (this.#objects.delete(`${namespace}/${name}`)) this.#sorted = undefined;
  }

  list(namespace?: string): Stored[] {
    this.#sorted ??= [...this.#objects.keys()].sort();
    const prefix = namespace === undefined ? '' : `${namespace}/`;
    const found: Stored[] = [];
    for (let at = lowerBound(this.#sorted, prefix); at < this.#sorted.length; at += 1) {
      const key = this.#sorted[at] ?? '';
      if (!key.startsWith(prefix)) break;
      const object = this.#objects.get(key);
      if (object !== undefined) found.push(object);
    }
    return found;
  }
}

/** The index of the first key that is not before `key`. */
function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((keys[middle] ?? '') < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
