import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** A secret under a name that may be shown. */
export interface KnownSecret {
  readonly name: string;
  readonly value: string;
}

/** A place where a secret was found. */
export interface Leak {
  readonly secret: string;
  readonly where: string;
}

/** Shorter ones are found everywhere by accident. */
const SHORTEST = 12;

/** Looks for secrets in text and files: as they are, in base64 at any offset, and as the bytes they encode. */
export class SecretSearch {
  readonly #needles = new Map<string, readonly Buffer[]>();
  readonly #names = new Map<string, string>();

  /** Adds a secret to look for; the same value twice counts once. Short ones are left out. */
  add({ name, value }: KnownSecret): void {
    if (value.length < SHORTEST || this.#needles.has(value)) return;
    this.#needles.set(value, formsOf(value));
    this.#names.set(value, name);
  }

  /** Names of what is looked for. */
  get names(): string[] {
    return [...this.#names.values()];
  }

  /** The secrets in `content`. */
  in(content: string | Buffer, where: string): Leak[] {
    const bytes = typeof content === 'string' ? Buffer.from(content) : content;
    return [...this.#needles]
      .filter(([, forms]) => forms.some((form) => bytes.includes(form)))
      .map(([value]) => ({ secret: this.#names.get(value) ?? '', where }));
  }

  /**
   * The secrets in all files below `folder` but those that `mayHold` names; those must be readable for their
   * owner only, which counts as a leak otherwise.
   */
  async inFolder(folder: string, mayHold: RegExp): Promise<Leak[]> {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true });
    const leaks: Leak[] = [];
    for (const entry of entries.filter((one) => one.isFile())) {
      const path = join(entry.parentPath, entry.name);
      const found = this.in(await readFile(path), path);
      const { mode } = await stat(path);
      const allowed = mayHold.test(path.slice(folder.length + 1)) && (mode & 0o077) === 0;
      if (!allowed) leaks.push(...found);
    }
    return leaks;
  }
}

function formsOf(value: string): Buffer[] {
  const plain = Buffer.from(value);
  const encoded = [0, 1, 2].map((offset) => {
    const text = Buffer.concat([Buffer.alloc(offset), plain])
      .toString('base64')
      .replace(/=+$/, '');
    // The first and last characters depend on what stands beside the value.
    return Buffer.from(text.slice(offset === 0 ? 0 : offset + 1, -1));
  });
  const decoded = /^[-_A-Za-z0-9]{32,}$/.test(value) ? [Buffer.from(value, 'base64url')] : [];
  return [plain, ...encoded, ...decoded];
}
