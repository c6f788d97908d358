import { RegistryError } from '../errors.ts';
import type { Digest } from '../names.ts';
import { type Exchange, matchesEtag, send, sendHead } from './exchange.ts';
import { type ByteRange, parseRange } from './range.ts';
import { sendFile } from './send-file.ts';
import type { Headers } from '../wire/message.ts';

/** `GET` and `HEAD` of a blob (end-2), whole or one range of it. */
export async function getBlob(exchange: Exchange, name: string, digest: Digest): Promise<void> {
  const { request, response, store } = exchange;
  const size = store.metadata.blob(digest)?.size;
  if (size === undefined || store.metadata.repository(name)?.blobs.has(digest) !== true)
    throw blobUnknown(digest);
  store.metadata.holds.use(name, digest);
  const etag = `"${digest}"`;
  const headers = blobHeaders(digest, size);
  if (request.method === 'HEAD') {
    if (!(await store.blobs.intact(digest))) throw blobUnknown(digest);
    send(response, matchesEtag(request.headers['if-none-match'], etag) ? 304 : 200, headers);
    return;
  }
  if (matchesEtag(request.headers['if-none-match'], etag)) {
    send(response, 304, headers);
    return;
  }
  const range = rangeOf(exchange, etag, size);
  exchange.events.publish({ action: 'pull', kind: 'blob', repository: name, digest, size }, exchange);
  const sent = store.metadata.holds.transfer(name);
  try {
    await sendBlob(exchange, digest, headers, range);
  } finally {
    sent();
  }
}

/** The headers of an answer with a whole blob. */
export function blobHeaders(digest: Digest, size: number): Headers {
  return {
    'docker-content-digest': digest,
    'content-type': 'application/octet-stream',
    'content-disposition': 'attachment',
    'content-length': size,
    'accept-ranges': 'bytes',
    etag: `"${digest}"`,
    'cache-control': 'max-age=31536000, immutable',
    vary: 'authorization',
  };
}

/** `DELETE` of a blob (end-10): this repository no longer has it. */
export async function deleteBlob(exchange: Exchange, name: string, digest: Digest): Promise<void> {
  if (!(await exchange.store.blobs.remove(name, digest))) throw blobUnknown(digest);
  exchange.events.publish({ action: 'delete', kind: 'blob', repository: name, digest }, exchange);
  send(exchange.response, 202, {});
}

async function sendBlob(
  { response, store }: Exchange,
  digest: Digest,
  headers: Headers,
  range: ByteRange | undefined,
): Promise<void> {
  const blob = await store.blobs.open(digest);
  if (blob === undefined) throw blobUnknown(digest);
  const size = blob.kind === 'bytes' ? blob.bytes.length : blob.size;
  const { start, end } = range ?? { start: 0, end: size - 1 };
  const { status, headers: all } = partOf(headers, range, size);
  if (blob.kind === 'bytes') {
    send(response, status, all, blob.bytes.subarray(start, end + 1));
    return;
  }
  try {
    sendHead(response, status, all);
    await sendFile(response, blob.file, { start, end });
  } finally {
    await blob.file.close();
  }
}

/** The status and headers of an answer with a range of a blob, or all of it. */
export function partOf(
  headers: Headers,
  range: ByteRange | undefined,
  size: number,
): { readonly status: number; readonly headers: Headers } {
  if (range === undefined) return { status: 200, headers: { ...headers, 'content-length': size } };
  const { start, end } = range;
  const partial = { 'content-length': end - start + 1, 'content-range': `bytes ${start}-${end}/${size}` };
  return { status: 206, headers: { ...headers, ...partial } };
}

/**
 * The range that a request asks for; undefined for everything.
 *
 * @throws RegistryError `RangeInvalid`
 */
export function rangeOf({ request }: Exchange, etag: string, size: number): ByteRange | undefined {
  const condition = request.headers['if-range'];
  if (typeof condition === 'string' && condition !== etag) return undefined;
  const range = parseRange(request.headers.range, size);
  if (range !== 'unsatisfiable') return range;
  throw new RegistryError('RangeInvalid', 'The range is not within the blob.', {
    headers: { 'content-range': `bytes */${size}` },
  });
}

/** The answer to a blob that the repository does not have. */
export function blobUnknown(digest: Digest): RegistryError {
  return new RegistryError('BlobUnknown', 'The repository has no such blob.', { facts: { digest } });
}
