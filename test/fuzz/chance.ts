/** Random choices that a seed repeats (mulberry32). */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 to below 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from 0 to below `limit`. */
  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  /** True once in `times`. */
  once(times: number): boolean {
    return this.below(times) === 0;
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }

  bytes(size: number): Buffer {
    return Buffer.from(Array.from({ length: size }, () => this.below(256)));
  }

  /** Text that a parser may stumble over. */
  text(): string {
    const part = (): string =>
      this.once(3)
        ? this.pick(AWKWARD)
        : String.fromCharCode(...this.bytes(this.below(6)).map((byte) => 33 + (byte % 94)));
    return Array.from({ length: 1 + this.below(5) }, part).join('');
  }
}

const AWKWARD = [
  ...[
    '',
    '/',
    '//',
    '..',
    '.',
    '%',
    '%2f',
    '%2e%2e',
    '%00',
    '%ff',
    ':',
    '@',
    '?',
    '#',
    '&',
    '=',
    '+',
    '\\',
    '"',
  ],
  ...[
    'sha256:',
    'sha512:',
    'blobs',
    'uploads',
    'manifests',
    'tags',
    'list',
    'referrers',
    '_catalog',
    'v2',
    '~',
  ],
  ...[
    'a'.repeat(64),
    '0',
    '-1',
    '99999999999999999999',
    '1e9',
    'NaN',
    '__proto__',
    'constructor',
    'bytes=',
    '-',
  ],
];
