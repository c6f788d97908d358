/** A map that forgets what was used least recently once its values are larger than its limit together. */
export class Lru<Key, Value extends { readonly byteLength: number }> {
  readonly #entries = new Map<Key, Value>();
  readonly #limit: number;
  #bytes = 0;

  /** @param limit how many bytes the values may have together */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Bytes held now. */
  get bytes(): number {
    return this.#bytes;
  }

  get(key: Key): Value | undefined {
    const value = this.#entries.get(key);
    if (value === undefined) return undefined;
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
