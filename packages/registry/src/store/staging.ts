/** Bytes of a staging buffer. */
export const STAGING_BYTES = 512 * 1024;
/** Buffers that are made together. */
const TOGETHER = 8;
/** Pages of WebAssembly, in bytes. */
const PAGE = 64 * 1024;
/** Groups that stay when none of their buffers is in use. */
const KEPT = 2;

/** Memory that bytes of an upload come to lie in, and that threads share. */
export interface Staging {
  readonly memory: SharedArrayBuffer;
  /** Where it begins in `memory`. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** What is used of a global that the types of Node leave out. */
declare const WebAssembly: {
  readonly Memory: new (pages: {
    initial: number;
    maximum: number;
    shared: true;
  }) => {
    readonly buffer: SharedArrayBuffer;
  };
};

interface Group {
  readonly free: Staging[];
}

/**
 * Staging buffers, used again and again. They begin at a page of memory, as writing past the kernel's cache
 * needs it; of what JavaScript can allocate, only the memory of WebAssembly does.
 */
export class StagingBuffers {
  readonly #groups: Group[] = [];
  #taken = 0;
  readonly #owners = new WeakMap<Staging, Group>();

  /** Buffers that are in use. */
  get taken(): number {
    return this.#taken;
  }

  /** Bytes that all buffers have, in use or not. */
  get bytes(): number {
    return this.#groups.length * TOGETHER * STAGING_BYTES;
  }

  take(): Staging {
    const group = this.#groups.find(({ free }) => free.length > 0) ?? this.#grow();
    const staging = group.free.pop();
    if (staging === undefined) throw new Error('A group of staging buffers is empty.');
    this.#taken += 1;
    return staging;
  }

  /** @param staging is used by nobody any more */
  giveBack(staging: Staging): void {
    const group = this.#owners.get(staging);
    if (group === undefined || group.free.includes(staging)) return;
    this.#taken -= 1;
    group.free.push(staging);
    const at = this.#groups.indexOf(group);
    if (at >= KEPT && group.free.length === TOGETHER) this.#groups.splice(at, 1);
  }

  #grow(): Group {
    const memory = allocate(TOGETHER * STAGING_BYTES);
    const group: Group = { free: [] };
    for (let index = 0; index < TOGETHER; index += 1) {
      const offset = index * STAGING_BYTES;
      const staging = { memory, offset, bytes: new Uint8Array(memory, offset, STAGING_BYTES) };
      group.free.push(staging);
      this.#owners.set(staging, group);
    }
    this.#groups.push(group);
    return group;
  }
}

/** Memory of WebAssembly takes much address space, of which a process may have been given little. */
function allocate(bytes: number): SharedArrayBuffer {
  const pages = bytes / PAGE;
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }).buffer;
  } catch {
    return new SharedArrayBuffer(bytes);
  }
}
