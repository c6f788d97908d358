/** How full a cache is, and what became of the questions to it. */
export interface CacheUse {
  readonly bytes: number;
  readonly asked: { readonly hits: number; readonly misses: number };
}

/** A map that forgets what was used least recently once its values are larger than its limit together. */
export class Lru<Key, Value extends { readonly byteLength: number }> implements CacheUse {
  readonly #entries = new Map<Key, Value>();
  readonly #limit: number;
  #bytes = 0;
  #hits = 0;
  #misses = 0;

  /** @param limit how many bytes the values may have together */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Bytes held now. */
  get bytes(): number {
    return this.#bytes;
  }

  /** How often what was asked for was there, and how often not. */
  get asked(): { readonly hits: number; readonly misses: number } {
    return { hits: this.#hits, misses: this.#misses };
  }

  get(key: Key): Value | undefined {
    const value = this.#entries.get(key);
    if (value === undefined) {
      this.#misses += 1;
      return undefined;
    }
    this.#hits += 1;
    this.#entries.delete(key);
    this.#entries.set(key, value);
    return value;
  }

  /** Keeps `value`, unless it alone is larger than a quarter of the limit. */
  set(key: Key, value: Value): void {
    this.delete(key);
    if (value.byteLength > this.#limit / 4) return;
    this.#entries.set(key, value);
    this.#bytes += value.byteLength;
    for (const [oldest, old] of this.#entries) {
      if (this.#bytes <= this.#limit) break;
      this.#entries.delete(oldest);
      this.#bytes -= old.byteLength;
    }
  }

  delete(key: Key): void {
    const value = this.#entries.get(key);
    if (value === undefined) return;
    this.#entries.delete(key);
    this.#bytes -= value.byteLength;
  }
}
