import type { Cache, KubeObject } from '@mural/kube';
import { objectKey } from '@mural/kube';

/**
 * A cache together with what was written since: a controller must not decide by a state older than its own
 * last write, which a cache may give for a moment.
 */
export class LatestObjects<T extends KubeObject> {
  readonly #cache: Cache<T>;
  readonly #written = new Map<string, T>();

  constructor(cache: Cache<T>) {
    this.#cache = cache;
  }

  /** The newest state that is known; `undefined` when the object is gone. */
  get(key: string): T | undefined {
    const cached = this.#cache.get(key);
    const written = this.#written.get(key);
    if (cached === undefined || written === undefined) {
      this.#written.delete(key);
      return cached;
    }
    if (cached.metadata.uid === written.metadata.uid && isOlder(cached, written)) return written;
    this.#written.delete(key);
    return cached;
  }

  /** Remembers what a write answered. */
  wrote(object: T): void {
    this.#written.set(objectKey(object), object);
  }
}

/** resourceVersions of one resource are numbers that grow (KEP-5504). */
function isOlder(a: KubeObject, b: KubeObject): boolean {
  const [left = '', right = ''] = [a.metadata.resourceVersion, b.metadata.resourceVersion];
  if (left.length !== right.length) return left.length < right.length;
  return left < right;
}
