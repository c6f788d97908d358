import type { IncomingMessage } from 'node:http';
import { isRecord } from '@mural/core';
import { parse as parseYaml } from 'yaml';
import { ApiError, badRequest } from '../status.ts';
import { decodeProtobuf, isProtobuf } from './protobuf.ts';

/** The largest body that is read, in bytes; that of kube-apiserver. */
export const BODY_LIMIT = 3_145_728;
/** How deep a body may be nested: deep enough for any object, shallow enough for recursion. */
const DEPTH_LIMIT = 500;

/** A body and the media type that the client gave it, without parameters. */
export interface Body {
  readonly bytes: Buffer;
  readonly mediaType: string;
}

/** @throws ApiError `RequestEntityTooLarge` beyond 3 MiB */
export async function readBody(message: IncomingMessage): Promise<Body> {
  const tooLarge = new ApiError('RequestEntityTooLarge', `Request entity too large: limit is ${BODY_LIMIT}`);
  if (Number(message.headers['content-length'] ?? 0) > BODY_LIMIT) throw tooLarge;
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of message as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > BODY_LIMIT) throw tooLarge;
    chunks.push(chunk);
  }
  const mediaType = (message.headers['content-type'] ?? 'application/json').split(';')[0] ?? '';
  return { bytes: Buffer.concat(chunks), mediaType: mediaType.trim().toLowerCase() };
}

/**
 * Reads an object out of a body: JSON, YAML, or the protobuf that client-go programs send for
 * built-in kinds.
 *
 * @throws ApiError `UnsupportedMediaType`, `BadRequest`
 */
export function decodeObject(body: Body): Record<string, unknown> {
  const value = decodeValue(body);
  if (!isRecord(value)) {
    throw badRequest("couldn't get version/kind; json parse error: the body is not an object");
  }
  return value;
}

/** As {@link decodeObject}, for bodies that may be lists (JSON patches). */
export function decodeValue(body: Body): unknown {
  if (isProtobuf(body.mediaType)) return decodeProtobuf(body.bytes);
  const text = body.bytes.toString('utf8');
  if (body.mediaType.endsWith('yaml')) return decodeYaml(text);
  if (body.mediaType.endsWith('json')) return decodeJson(text);
  throw new ApiError(
    'UnsupportedMediaType',
    'the body of the request was in an unknown format - accepted media types include: ' +
      'application/json, application/yaml, application/vnd.kubernetes.protobuf',
  );
}

/** Reads JSON of bounded depth. */
export function decodeJson(text: string): unknown {
  checkDepth(text);
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw badRequest(`couldn't get version/kind; json parse error: ${(error as Error).message}`);
  }
}

function decodeYaml(text: string): unknown {
  checkDepth(text);
  // Programs send JSON under the name of YAML, which it is; reading it as such is a hundred times as fast.
  if (text.startsWith('{')) {
    try {
      return JSON.parse(text) as unknown;
    } catch {
      // A flow mapping of YAML may begin like this too.
    }
  }
  try {
    return parseYaml(text, { maxAliasCount: 100, merge: true }) as unknown;
  } catch (error) {
    throw badRequest(`error decoding YAML: ${(error as Error).message}`);
  }
}

function checkDepth(text: string): void {
  let depth = 0;
  let quoted = false;
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (quoted) {
      if (code === 0x5c) index += 1;
      else if (code === 0x22) quoted = false;
    } else if (code === 0x22) quoted = true;
    else if (code === 0x7b || code === 0x5b) {
      depth += 1;
      if (depth > DEPTH_LIMIT) throw badRequest('the body is nested too deeply');
    } else if (code === 0x7d || code === 0x5d) depth -= 1;
  }
}
