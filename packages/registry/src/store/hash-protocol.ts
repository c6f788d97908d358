/** Hash functions of digests that the registry stores. */
export type Algorithm = 'sha256' | 'sha512';

/** What the main thread asks of a hash worker. Files are named by their path. */
export type HashCommand =
  /** Opens for appending at `size`, hashing what is there already. */
  | { readonly kind: 'open'; readonly path: string; readonly algorithm: Algorithm; readonly size: number }
  /** Writes and hashes `length` bytes of `memory` from `offset` on. */
  | {
      readonly kind: 'append';
      readonly path: string;
      readonly memory: SharedArrayBuffer;
      readonly offset: number;
      readonly length: number;
    }
  /** The digest of everything appended so far. */
  | { readonly kind: 'digest'; readonly path: string }
  /** Closes the file and keeps the state of its hash. */
  | { readonly kind: 'park'; readonly path: string }
  /** Closes the file and forgets it. */
  | { readonly kind: 'forget'; readonly path: string }
  /** Hashes a whole file; with a rate, no faster than that and behind every other thread. */
  | {
      readonly kind: 'hash';
      readonly path: string;
      readonly algorithm: Algorithm;
      readonly bytesPerSecond?: number;
    };

export type HashRequest = HashCommand & { readonly call: number };

export type HashReply =
  | {
      readonly call: number;
      readonly ok: true;
      readonly size?: number;
      readonly hex?: string;
    }
  | { readonly call: number; readonly ok: false; readonly message: string; readonly code?: string };
