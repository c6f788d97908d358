import { createHash, type Hash, hash } from 'node:crypto';
import { OciError } from './errors.ts';

/** Content's address: `<algorithm>:<hex>` (image-spec, "Digests"). */
export type Digest = `${string}:${string}`;

/** The registered algorithms of the image-spec that this package computes. */
export type DigestAlgorithm = 'sha256' | 'sha512';

const DIGEST = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;
/** How much is hashed before other work gets its turn: 2 to 3 ms of one core. */
const SLICE = 4 * 1024 * 1024;

/** Whether `text` is a well-formed sha256 or sha512 digest in lower-case hex. */
export function isDigest(text: string): text is Digest {
  return DIGEST.test(text);
}

/**
 * Takes a digest apart.
 *
 * @throws OciError `DigestInvalid` for an unknown algorithm, upper-case hex or a wrong length
 */
export function parseDigest(text: string): { readonly algorithm: DigestAlgorithm; readonly hex: string } {
  if (!isDigest(text)) {
    throw new OciError('DigestInvalid', `"${text.slice(0, 200)}" is not a digest`, {
      hint: 'A digest is sha256: and 64, or sha512: and 128, lower-case hex digits.',
    });
  }
  const algorithm = text.startsWith('sha512:') ? 'sha512' : 'sha256';
  return { algorithm, hex: text.slice(7) };
}

/** Checks and narrows text to a digest. @throws OciError `DigestInvalid` */
export function asDigest(text: string): Digest {
  parseDigest(text);
  return text as Digest;
}

/** The digest of bytes that are in memory. */
export function digestOf(bytes: Uint8Array | string, algorithm: DigestAlgorithm = 'sha256'): Digest {
  return `${algorithm}:${hash(algorithm, bytes, 'hex')}`;
}

/** As {@link digestOf}, but lets the event loop turn while large input is hashed. */
export async function digestOfLarge(
  bytes: Uint8Array,
  algorithm: DigestAlgorithm = 'sha256',
): Promise<Digest> {
  if (bytes.length <= SLICE) return digestOf(bytes, algorithm);
  const running = createHash(algorithm);
  for (let at = 0; at < bytes.length; at += SLICE) {
    running.update(bytes.subarray(at, at + SLICE));
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  return `${algorithm}:${running.digest('hex')}`;
}

/** Hashes what passes by and says at the end whether it is what was asked for. */
export class DigestVerifier {
  readonly #expected: Digest;
  readonly #size: number | undefined;
  readonly #hash: Hash;
  #seen = 0;

  /** @param size the expected length in bytes, when it is known */
  constructor(expected: Digest, size?: number) {
    this.#expected = expected;
    this.#size = size;
    this.#hash = createHash(parseDigest(expected).algorithm);
  }

  /** Takes the next bytes. @throws OciError `DigestMismatch` as soon as there are more than expected */
  update(chunk: Uint8Array): void {
    this.#seen += chunk.length;
    if (this.#size !== undefined && this.#seen > this.#size) this.#fail(`more than ${this.#size} bytes`);
    this.#hash.update(chunk);
  }

  /** @throws OciError `DigestMismatch` unless size and digest are the expected ones */
  finish(): void {
    if (this.#size !== undefined && this.#seen !== this.#size) {
      this.#fail(`${this.#seen} bytes instead of ${this.#size}`);
    }
    const actual = `${parseDigest(this.#expected).algorithm}:${this.#hash.digest('hex')}`;
    if (actual !== this.#expected) this.#fail(actual);
  }

  #fail(received: string): never {
    throw new OciError(
      'DigestMismatch',
      `content of ${this.#expected} does not match: received ${received}`,
      {
        facts: { expected: this.#expected, received },
      },
    );
  }
}
