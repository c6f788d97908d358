import type { IncomingMessage, ServerResponse } from 'node:http';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { stringify } from 'yaml';
import { jsonOf } from '../objects.ts';
import { present, presentList } from '../tables/present.ts';
import type { Presentation } from './accept.ts';
import { negotiate } from './accept.ts';
import type { Answer, ListAnswer, ObjectAnswer } from './answer.ts';

const compress = promisify(gzip);
/** Answers from this size on are compressed, as kube-apiserver does. */
const GZIP_FROM = 128 * 1024;

/** What an answer needs to know besides itself. */
export interface ResponseContext {
  readonly message: IncomingMessage;
  readonly query: URLSearchParams;
  readonly warnings: readonly string[];
  readonly now: number;
}

/** Writes an answer in the shape and encoding that the client accepts. */
export async function respond(
  response: ServerResponse,
  answer: Answer,
  context: ResponseContext,
): Promise<void> {
  for (const warning of context.warnings) response.appendHeader('Warning', warningHeader(warning));
  if (answer.type === 'stream') {
    await answer.run(response);
    return;
  }
  if (answer.type === 'text') {
    const extra = { 'Content-Type': answer.contentType ?? 'text/plain; charset=utf-8' };
    await send(response, { status: answer.status, text: answer.text, encoding: 'json', extra }, context);
    return;
  }
  const presentation = negotiate(context.message.headers.accept);
  const text =
    answer.type === 'document' ? JSON.stringify(answer.document) : encode(answer, presentation, context);
  const status = answer.type === 'list' ? 200 : answer.status;
  const extra = answer.type === 'document' ? (answer.headers ?? {}) : {};
  await send(response, { status, text, encoding: presentation.encoding, extra }, context);
}

function encode(
  answer: ListAnswer | ObjectAnswer,
  presentation: Presentation,
  context: ResponseContext,
): string {
  const options = { includeObject: context.query.get('includeObject') ?? 'Metadata', now: context.now };
  if (answer.type === 'object') {
    if (presentation.as === 'object') return jsonOf(answer.object);
    return JSON.stringify(present(answer.object, answer.resource, presentation, options));
  }
  if (presentation.as !== 'object') {
    return JSON.stringify(presentList(answer, presentation, options));
  }
  const { kind, apiVersion } = listType(answer);
  const head = JSON.stringify({ kind, apiVersion, metadata: answer.metadata });
  return `${head.slice(0, -1)},"items":[${answer.items.map(jsonOf).join(',')}]}`;
}

function listType({ resource }: ListAnswer): { readonly kind: string; readonly apiVersion: string } {
  const apiVersion = resource.group === '' ? resource.version : `${resource.group}/${resource.version}`;
  return { kind: resource.listKind, apiVersion };
}

interface Sending {
  readonly status: number;
  readonly text: string;
  readonly encoding: 'json' | 'yaml';
  readonly extra: Readonly<Record<string, string>>;
}

async function send(response: ServerResponse, sending: Sending, context: ResponseContext): Promise<void> {
  const yaml = sending.encoding === 'yaml';
  const text = yaml ? stringify(JSON.parse(sending.text)) : sending.text;
  const headers: Record<string, string> = {
    'Content-Type': yaml ? 'application/yaml' : 'application/json',
    'Cache-Control': 'no-cache, private',
    ...sending.extra,
  };
  let body = Buffer.from(text);
  if (body.length >= GZIP_FROM && acceptsGzip(context.message)) {
    body = Buffer.from(await compress(body, { level: 1 }));
    headers['Content-Encoding'] = 'gzip';
    headers['Vary'] = 'Accept-Encoding';
  }
  response.writeHead(sending.status, { ...headers, 'Content-Length': body.length });
  response.end(context.message.method === 'HEAD' ? undefined : body);
}

function acceptsGzip(message: IncomingMessage): boolean {
  const accepted = message.headers['accept-encoding'];
  return typeof accepted === 'string' && /\bgzip\b/.test(accepted);
}

/** A `Warning` header with the code 299 (RFC 7234, 5.5), as kubectl prints it. */
function warningHeader(text: string): string {
  const clean = text.replace(/[\u0000-\u001f\u007f]/g, ' ').replace(/["\\]/g, '\\$&');
  const latin = Buffer.from(clean.slice(0, 2000), 'utf8').toString('latin1');
  return `299 - "${latin}"`;
}
