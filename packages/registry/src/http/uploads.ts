import { RegistryError } from '../errors.ts';
import { type Digest, parseDigest } from '../names.ts';
import type { Algorithm } from '../store/hash-protocol.ts';
import type { Chunk, UploadSession } from '../store/uploads.ts';
import { bodyOf, type Exchange, lengthOf, send } from './exchange.ts';
import { parseContentRange } from './range.ts';
import { requireDigest, requireRepository } from './request.ts';
import type { Headers } from '../wire/message.ts';

/** `POST` that begins an upload, holds a whole blob, or mounts one (end-4a, end-4b, end-4c, end-11). */
export async function startUpload(exchange: Exchange, name: string): Promise<void> {
  const { query } = exchange;
  const mount = query.get('mount');
  if (mount !== null && (await mountBlob(exchange, name, requireDigest(mount)))) return;
  const digest = query.get('digest');
  if (digest !== null && mount === null) {
    await storeBlob(exchange, name, requireDigest(digest));
    return;
  }
  const { store, caller, response } = exchange;
  const algorithm =
    mount === null ? algorithmOf(query.get('digest-algorithm')) : parseDigest(mount).algorithm;
  const upload = store.uploads.create(name, caller.name, algorithm);
  send(response, 202, { ...progress(upload), 'docker-upload-uuid': upload.id });
}

/** `GET` of how far an upload has come (end-13). */
export function uploadStatus(exchange: Exchange, name: string, id: string): void {
  send(exchange.response, 204, progress(find(exchange, name, id)));
}

/** `PATCH` with the next bytes (end-5). */
export async function appendUpload(exchange: Exchange, name: string, id: string): Promise<void> {
  const upload = find(exchange, name, id);
  await guardOrder(upload, async () => {
    await exchange.store.uploads.append(upload, chunkOf(exchange));
  });
  send(exchange.response, 202, progress(upload));
}

/** `PUT` with the last bytes, if any, and the digest (end-6). */
export async function finishUpload(exchange: Exchange, name: string, id: string): Promise<void> {
  const upload = find(exchange, name, id);
  const digest = requireDigest(exchange.query.get('digest') ?? '');
  await guardOrder(upload, async () => {
    await exchange.store.uploads.finish(upload, digest, chunkOf(exchange));
  });
  created(exchange, name, digest);
}

/** `DELETE` of an upload (end-14). */
export async function cancelUpload(exchange: Exchange, name: string, id: string): Promise<void> {
  await exchange.store.uploads.cancel(find(exchange, name, id));
  send(exchange.response, 204, {});
}

async function storeBlob(exchange: Exchange, name: string, digest: Digest): Promise<void> {
  await exchange.store.uploads.store(name, exchange.caller.name, digest, {
    body: bodyOf(exchange),
    length: lengthOf(exchange),
  });
  created(exchange, name, digest);
}

/** Only what the caller could read anyway is mounted; otherwise an upload begins, as if it were not there. */
async function mountBlob(exchange: Exchange, name: string, digest: Digest): Promise<boolean> {
  const { query, caller, store } = exchange;
  const from = query.get('from');
  const sources =
    from === null || from === ''
      ? [...store.metadata.holders(digest)].map((repository) => repository.name)
      : [requireRepository(from)];
  const readable = sources.find(
    (source) =>
      caller.allows('read', source) && store.metadata.repository(source)?.blobs.has(digest) === true,
  );
  if (readable !== undefined) store.metadata.holds.use(readable, digest);
  if (readable === undefined || !(await store.blobs.mount(name, digest))) return false;
  created(exchange, name, digest, readable);
  return true;
}

function created(exchange: Exchange, name: string, digest: Digest, from?: string): void {
  const { response, store, events } = exchange;
  const size = store.metadata.blob(digest)?.size;
  const how = from === undefined ? { action: 'push' as const } : { action: 'mount' as const, from };
  const known = size === undefined ? {} : { size };
  events.publish({ kind: 'blob', repository: name, digest, ...known, ...how }, exchange);
  send(response, 201, { location: `/v2/${name}/blobs/${digest}`, 'docker-content-digest': digest });
}

function find({ store, caller }: Exchange, name: string, id: string): UploadSession {
  return store.uploads.get(id, name, caller.name);
}

function progress(upload: UploadSession): Headers {
  return {
    location: `/v2/${upload.repository}/blobs/uploads/${upload.id}`,
    range: `0-${Math.max(upload.size - 1, 0)}`,
  };
}

/** Lets a client that sent the wrong chunk see how far the upload has come. */
async function guardOrder(upload: UploadSession, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof RegistryError) || error.code !== 'BlobUploadOutOfOrder') throw error;
    const headers = Object.fromEntries(
      Object.entries(progress(upload)).map(([key, value]) => [key, String(value)]),
    );
    throw new RegistryError(error.code, error.message, { facts: error.facts, headers });
  }
}

function chunkOf(exchange: Exchange): Chunk {
  const header = exchange.request.headers['content-range'];
  const body = bodyOf(exchange);
  const length = lengthOf(exchange);
  if (header === undefined) return { body, length };
  const range = parseContentRange(header);
  if (range === undefined) {
    throw new RegistryError('BlobUploadInvalid', 'The Content-Range cannot be read.');
  }
  if (length !== undefined && length !== range.end - range.start + 1) {
    throw new RegistryError('SizeInvalid', 'Content-Range and Content-Length contradict each other.');
  }
  return { body, start: range.start, length };
}

function algorithmOf(asked: string | null): Algorithm {
  if (asked === null || asked === 'sha256') return 'sha256';
  if (asked === 'sha512') return 'sha512';
  throw new RegistryError('DigestInvalid', 'The digest algorithm is not sha256 or sha512.');
}
