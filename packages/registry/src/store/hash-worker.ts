import {
  closeSync,
  constants,
  fdatasync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  writeSync,
} from 'node:fs';
import { createHash, type Hash } from 'node:crypto';
import { setPriority } from 'node:os';
import { parentPort } from 'node:worker_threads';
import type { HashReply, HashRequest } from './hash-protocol.ts';

/** Reads of a re-hash, in bytes. */
const READ_SIZE = 1024 * 1024;
/** Bytes after which a file begins its way to the disk, so that little is left to wait for at the end. */
const SYNC_STEP = 8 * 1024 * 1024;

interface OpenFile {
  readonly path: string;
  readonly hash: Hash;
  size: number;
  descriptor: number | undefined;
  /** For writing past the kernel's cache. */
  direct: number | undefined;
  /** A write has failed: what follows it must not land in its place. */
  broken: boolean;
  unsynced: number;
  /** The descriptor that is being synced; it must not be closed meanwhile. */
  syncing: number | undefined;
  syncError: Error | undefined;
  /** What waits for the sync that is under way. */
  afterSync: (() => void)[];
}

const files = new Map<string, OpenFile>();

parentPort?.on('message', (request: HashRequest) => {
  const file = request.kind === 'digest' ? files.get(request.path) : undefined;
  // Whoever asks for the digest is about to call the file stored.
  if (file?.syncing === undefined) serve(request);
  else file.afterSync.push(() => serve(request));
});

function serve(request: HashRequest): void {
  try {
    answer({ call: request.call, ok: true, ...perform(request) });
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : undefined;
    const message = error instanceof Error ? error.message : String(error);
    answer({ call: request.call, ok: false, message, ...(code === undefined ? {} : { code }) });
  }
}

function answer(reply: HashReply): void {
  parentPort?.postMessage(reply);
}

function perform(request: HashRequest): { size?: number; hex?: string } {
  switch (request.kind) {
    case 'open':
      return { size: openFile(request.path, request.algorithm, request.size).size };
    case 'append':
      return append(fileOf(request.path), new Uint8Array(request.memory, request.offset, request.length));
    case 'digest': {
      const file = fileOf(request.path);
      if (file.syncError !== undefined) throw file.syncError;
      return { hex: file.hash.copy().digest('hex'), size: file.size };
    }
    case 'park':
      park(fileOf(request.path));
      return {};
    case 'forget': {
      const file = files.get(request.path);
      if (file !== undefined) park(file);
      files.delete(request.path);
      return {};
    }
    case 'hash':
      return hashFile(request);
  }
}

function openFile(path: string, algorithm: string, size: number): OpenFile {
  const known = files.get(path);
  if (known !== undefined) {
    known.descriptor ??= openSync(path, constants.O_RDWR);
    return known;
  }
  const descriptor = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  const hash = createHash(algorithm);
  const file: OpenFile = {
    ...{ path, hash, size, descriptor, direct: undefined, broken: false },
    ...{ unsynced: 0, syncing: undefined, syncError: undefined, afterSync: [] },
  };
  try {
    ftruncateSync(descriptor, size);
    if (size > 0) update(file.hash, descriptor);
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
  files.set(path, file);
  return file;
}

function append(file: OpenFile, bytes: Uint8Array): { size: number } {
  const { length } = bytes;
  if (file.descriptor === undefined || file.broken) throw new Error('The file cannot be written.');
  file.broken = true;
  let written = writeDirectly(file, bytes);
  file.unsynced += length - written;
  while (written < length) {
    written += writeSync(file.descriptor, bytes, written, length - written, file.size + written);
  }
  file.broken = false;
  file.hash.update(bytes);
  file.size += length;
  if (file.unsynced >= SYNC_STEP && file.syncing === undefined) beginSync(file, file.descriptor);
  return { size: file.size };
}

/** Blocks that are written past the cache begin and end at a multiple of this, in bytes. */
const ALIGNMENT = 4096;
/** Pieces below this are better off in the cache, in bytes. */
const DIRECT_BYTES = 256 * 1024;
/** Whether a file system has refused to be written past the cache. */
let directRefused = process.platform !== 'linux';

/**
 * Writes past the kernel's cache where that can be: the copy and its way to the disk would cost half as much CPU as
 * the hash.
 *
 * @returns bytes written, 0 where it cannot be
 */
function writeDirectly(file: OpenFile, bytes: Uint8Array): number {
  if (directRefused || bytes.length < DIRECT_BYTES || file.size % ALIGNMENT !== 0) return 0;
  const length = bytes.length - (bytes.length % ALIGNMENT);
  try {
    file.direct ??= openSync(file.path, constants.O_WRONLY | constants.O_DIRECT);
    return writeSync(file.direct, bytes, 0, length, file.size);
  } catch (error) {
    // Whatever else it was, the usual way tells.
    if (error instanceof Error && 'code' in error && error.code === 'EINVAL') directRefused = true;
    return 0;
  }
}

/** The kernel tells a failed write-back once: what is told here would be missing at the sync that counts. */
function beginSync(file: OpenFile, descriptor: number): void {
  file.unsynced = 0;
  file.syncing = descriptor;
  fdatasync(descriptor, (error) => {
    file.syncError ??= error ?? undefined;
    file.syncing = undefined;
    if (file.descriptor !== descriptor) closeSync(descriptor);
    for (const waiting of file.afterSync.splice(0)) waiting();
  });
}

function hashFile({ path, algorithm, bytesPerSecond }: Extract<HashRequest, { kind: 'hash' }>): {
  hex: string;
  size: number;
} {
  const descriptor = openSync(path, constants.O_RDONLY);
  try {
    const hash = createHash(algorithm);
    update(hash, descriptor, bytesPerSecond === undefined ? () => undefined : pacer(bytesPerSecond));
    return { hex: hash.digest('hex'), size: fstatSync(descriptor).size };
  } finally {
    closeSync(descriptor);
  }
}

const LOWEST_PRIORITY = 19;
const never = new Int32Array(new SharedArrayBuffer(4));

/** Holds this thread, which does nothing else, back to a rate. */
function pacer(bytesPerSecond: number): (bytes: number) => void {
  // On Linux the priority is the thread's own; elsewhere it would be that of the whole process.
  if (process.platform === 'linux') setPriority(LOWEST_PRIORITY);
  const started = performance.now();
  let total = 0;
  return (bytes) => {
    total += bytes;
    const ahead = (total / bytesPerSecond) * 1000 - (performance.now() - started);
    if (ahead > 0) Atomics.wait(never, 0, 0, ahead);
  };
}

function update(hash: Hash, descriptor: number, pace: (bytes: number) => void = () => undefined): void {
  const buffer = Buffer.allocUnsafe(READ_SIZE);
  for (let position = 0; ; ) {
    const read = readSync(descriptor, buffer, 0, READ_SIZE, position);
    if (read === 0) return;
    hash.update(buffer.subarray(0, read));
    position += read;
    pace(read);
  }
}

function park(file: OpenFile): void {
  if (file.direct !== undefined) closeSync(file.direct);
  file.direct = undefined;
  if (file.descriptor === undefined) return;
  const { descriptor } = file;
  file.descriptor = undefined;
  if (file.syncing !== descriptor) closeSync(descriptor);
}

function fileOf(path: string): OpenFile {
  const file = files.get(path);
  if (file === undefined) throw new Error('The file is not open.');
  return file;
}
