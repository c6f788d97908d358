/** The tags of a repository, by name and in ASCII order. */
export class TagIndex<Value> {
  readonly #values = new Map<string, Value>();
  readonly #names: string[] = [];

  get size(): number {
    return this.#values.size;
  }

  get(name: string): Value | undefined {
    return this.#values.get(name);
  }

  set(name: string, value: Value): void {
    if (!this.#values.has(name)) this.#names.splice(lowerBound(this.#names, name), 0, name);
    this.#values.set(name, value);
  }

  delete(name: string): boolean {
    if (!this.#values.delete(name)) return false;
    this.#names.splice(lowerBound(this.#names, name), 1);
    return true;
  }

  entries(): Iterable<[string, Value]> {
    return this.#values.entries();
  }

  /** Up to `limit` names that come after `last`, and whether more follow them. */
  page(last: string | undefined, limit: number): { names: string[]; more: boolean } {
    return pageOf(this.#names, last, limit);
  }
}

/** Up to `limit` of the `sorted` names that come after `last`, and whether more follow them. */
export function pageOf(
  sorted: readonly string[],
  last: string | undefined,
  limit: number,
): { names: string[]; more: boolean } {
  let start = last === undefined ? 0 : lowerBound(sorted, last);
  if (last !== undefined && sorted[start] === last) start += 1;
  return { names: sorted.slice(start, start + limit), more: start + limit < sorted.length };
}

/** Where `name` is in `sorted`, or would have to be put. */
export function lowerBound(sorted: readonly string[], name: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] ?? '') < name) low = middle + 1;
    else high = middle;
  }
  return low;
}
