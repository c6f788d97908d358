import 'reflect-metadata';
import { once } from 'node:events';
import type { IncomingHttpHeaders, IncomingMessage, RequestListener } from 'node:http';
import { createServer, request as httpsRequest } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import { TLSSocket } from 'node:tls';
import { createLogger } from '@mural/core';
import { eventually } from '@mural/core/testing';
import { TEST_TLS } from '@mural/oci/testing';
import * as x509 from '@peculiar/x509';
import { afterEach, describe, expect, it } from 'vitest';
import { type ConsoleOptions, type RunningConsole, startConsole } from './server.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
}

/** An API that answers as told and remembers what it was asked. */
async function fakeApi(answer: RequestListener): Promise<{ readonly server: string; readonly seen: Seen[] }> {
  const seen: Seen[] = [];
  const server = createServer({ cert: TEST_TLS.cert, key: TEST_TLS.key }, (request, response) => {
    seen.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers });
    answer(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(async () => {
    server.close();
    server.closeAllConnections();
  });
  return { server: `https://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

const LIST: RequestListener = (_, response) => {
  response.setHeader('content-type', 'application/json');
  response.setHeader('set-cookie', 'a=b');
  response.setHeader('www-authenticate', 'Basic');
  response.end('{"items":[]}');
};

async function start(
  api: { readonly server: string },
  options: Partial<ConsoleOptions> = {},
): Promise<RunningConsole> {
  const page = await startConsole({
    port: 0,
    tls: TEST_TLS,
    api: { server: api.server, ca: TEST_TLS.ca },
    ...options,
  });
  cleanups.push(async () => page.close());
  return page;
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

interface Asked {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string | string[]>>;
}

/** Asks with exactly this path, as a browser would not. */
async function ask(page: RunningConsole, path: string, options: Asked = {}): Promise<Answer> {
  const response = await open(page, path, options);
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body: Buffer.concat(chunks).toString(),
  };
}

async function open(page: RunningConsole, path: string, options: Asked = {}): Promise<IncomingMessage> {
  const { hostname, port } = new URL(page.url);
  const request = httpsRequest({
    ...{ hostname, port, path, ca: TEST_TLS.ca, agent: false, method: options.method ?? 'GET' },
    headers: options.headers ?? {},
  });
  request.end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return response;
}

const NOWHERE = { server: 'https://127.0.0.1:9' };
const SPOKES = '/apis/mural.dev/v1alpha1/spokes';

describe('the page', () => {
  it('is served with headers that let nothing in', async () => {
    const page = await start(NOWHERE);
    const { status, headers, body } = await ask(page, '/');
    expect(status).toBe(200);
    expect(body).toMatch(/^<!doctype html>/);
    expect(headers).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'cross-origin-resource-policy': 'same-origin',
    });
    const policy = String(headers['content-security-policy']).split('; ');
    expect(policy).toEqual(
      expect.arrayContaining([
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "form-action 'none'",
        "base-uri 'none'",
      ]),
    );
    expect(policy.join()).not.toMatch(/unsafe|\*|https?:/);
  });

  it('has every file that its files name', async () => {
    const page = await start(NOWHERE);
    const wanted = new Set(['/']);
    for (const path of wanted) {
      const { status, headers, body } = await ask(page, path);
      expect([path, status]).toEqual([path, 200]);
      expect(headers['content-type']).toMatch(
        path === '/' ? /^text\/html/ : /^(text\/(css|javascript)|image\/svg)/,
      );
      expect(body).not.toMatch(/https?:\/\/(?!www\.w3\.org)/);
      for (const [, name = ''] of body.matchAll(/(?:href|src)="(\/[\w.]+)"/g)) wanted.add(name);
      for (const [, name = ''] of body.matchAll(/ from '\.(\/[\w.]+)'/g)) wanted.add(name);
    }
    expect(wanted.size).toBeGreaterThan(6);
  });

  it('is not sent again to who has it', async () => {
    const page = await start(NOWHERE);
    const { headers } = await ask(page, '/app.js');
    expect(headers.etag).toMatch(/^"[\w-]+"$/);
    const again = await ask(page, '/app.js', {
      headers: { 'if-none-match': `"x", W/${headers.etag ?? ''}` },
    });
    expect(again).toMatchObject({ status: 304, body: '', headers: { etag: headers.etag } });
    const other = await ask(page, '/app.js', { headers: { 'if-none-match': '"x"' } });
    expect(other.status).toBe(200);
    const head = await ask(page, '/app.js', { method: 'HEAD' });
    expect(head).toMatchObject({
      status: 200,
      body: '',
      headers: { 'content-length': headers['content-length'] },
    });
  });

  it.each([
    '/index.html',
    '/model.d.ts',
    '/package.json',
    '/../package.json',
    '/..%2fpackage.json',
    '/%2e%2e/package.json',
    '/.',
    '//app.js',
    '/app.js/',
    '/constructor',
    '/metrics',
    '/apiserver',
    '*',
    'https://example.com/app.js',
  ])('%s is not there', async (path) => {
    const page = await start(NOWHERE);
    const { status, headers, body } = await ask(page, path);
    expect(status).toBe(404);
    expect(headers['x-content-type-options']).toBe('nosniff');
    expect(JSON.parse(body)).toMatchObject({ kind: 'Status', code: 404, reason: 'NotFound' });
  });
});

describe('the way to the API', () => {
  it('takes the bearer token along, and nothing else that the browser says', async () => {
    const api = await fakeApi(LIST);
    const page = await start(api);
    const { status, headers, body } = await ask(page, `${SPOKES}?limit=5&continue=a%2Fb`, {
      headers: {
        authorization: 'Bearer abc',
        accept: 'application/json',
        cookie: 'session=1',
        connection: 'keep-alive, x-extra',
        'x-extra': '1',
        'impersonate-user': 'admin',
        'x-remote-user': 'admin',
        'x-forwarded-for': '192.0.2.1',
        'proxy-authorization': 'Basic eA==',
        upgrade: 'websocket',
      },
    });
    expect({ status, body }).toEqual({ status: 200, body: '{"items":[]}' });
    expect(headers['content-type']).toBe('application/json');
    expect(headers['cache-control']).toBe('no-store');
    expect(headers['x-content-type-options']).toBe('nosniff');
    expect(headers).not.toHaveProperty('set-cookie');
    expect(headers).not.toHaveProperty('www-authenticate');
    expect(headers).not.toHaveProperty('access-control-allow-origin');
    expect(api.seen).toHaveLength(1);
    expect(api.seen[0]).toMatchObject({ method: 'GET', url: `${SPOKES}?limit=5&continue=a%2Fb` });
    expect(api.seen[0]?.headers).toEqual({
      authorization: 'Bearer abc',
      accept: 'application/json',
      'user-agent': 'mural-console',
      host: new URL(api.server).host,
      connection: 'keep-alive',
    });
  });

  it('adds no credential where the browser sends none, or one of another kind', async () => {
    const api = await fakeApi(LIST);
    const page = await start(api);
    await ask(page, '/version');
    await ask(page, '/version', { headers: { authorization: 'Basic YTpi' } });
    expect(api.seen.map(({ headers }) => headers.authorization)).toEqual([undefined, undefined]);
  });

  it('hands answers on as they are', async () => {
    const api = await fakeApi((_, response) => {
      response.writeHead(401, { 'content-type': 'application/json', 'retry-after': '3' });
      response.end('{"kind":"Status"}');
    });
    const answer = await ask(await start(api), '/api');
    expect(answer).toMatchObject({ status: 401, body: '{"kind":"Status"}', headers: { 'retry-after': '3' } });
  });

  it.each(['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'HEAD'])('refuses %s', async (method) => {
    const api = await fakeApi(LIST);
    const { status, headers } = await ask(await start(api), SPOKES, { method });
    expect(status).toBe(405);
    expect(headers.allow).toBe('GET');
    expect(headers).not.toHaveProperty('access-control-allow-origin');
    expect(api.seen).toEqual([]);
  });

  it.each([
    '/api/../metrics',
    '/api/%2e%2e/metrics',
    '/api/.%2E/metrics',
    '/apis/./x',
    '/api//v1',
    '/api/v1%2f..%2f..',
    '/api/v1%5c..',
    '/api/v1%00',
    '/api/%252e%252e/metrics',
    '/api/v1;x',
    '/version/../metrics',
    '/version/x',
  ])('lets nothing out of the API: %s', async (path) => {
    const api = await fakeApi(LIST);
    expect((await ask(await start(api), path)).status).toBe(404);
    expect(api.seen).toEqual([]);
  });

  it('refuses a URL without end', async () => {
    const api = await fakeApi(LIST);
    expect((await ask(await start(api), `/api?${'x'.repeat(9000)}`)).status).toBe(414);
  });

  it('answers its own pages only', async () => {
    const api = await fakeApi(LIST);
    const page = await start(api);
    const { host } = new URL(page.url);
    const status = async (path: string, headers: Record<string, string>): Promise<number> =>
      (await ask(page, path, { headers })).status;
    expect(await status(SPOKES, { origin: 'https://evil.example' })).toBe(403);
    expect(await status(SPOKES, { origin: 'null' })).toBe(403);
    expect(await status(SPOKES, { origin: `http://${host}` })).toBe(403);
    expect(await status(SPOKES, { 'sec-fetch-site': 'cross-site' })).toBe(403);
    expect(await status(SPOKES, { 'sec-fetch-site': 'same-site' })).toBe(403);
    expect(await status(SPOKES, { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' })).toBe(403);
    expect(await status('/app.js', { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' })).toBe(
      403,
    );
    expect(api.seen).toEqual([]);
    expect(await status('/', { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' })).toBe(200);
    expect(await status(SPOKES, { 'sec-fetch-site': 'same-origin', origin: page.url })).toBe(200);
    expect(await status(SPOKES, {})).toBe(200);
  });

  it('says that the API is down, and not where it is', async () => {
    const lines: string[] = [];
    const log = createLogger({ destination: { write: (line) => void lines.push(line) } });
    const page = await start(NOWHERE, { log });
    const { status, body } = await ask(page, `${SPOKES}?x=secret`, {
      headers: { authorization: 'Bearer hush' },
    });
    expect(status).toBe(502);
    expect(JSON.parse(body)).toEqual({
      ...{ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', code: 502 },
      reason: 'ServiceUnavailable',
      message: 'the Kubernetes API cannot be reached',
    });
    expect(lines.join()).toContain(SPOKES);
    expect(lines.join()).not.toMatch(/hush|secret/);
  });

  it('trusts no API but the one of its CA', async () => {
    const api = await fakeApi(LIST);
    const page = await start(api, { api: { server: api.server } });
    const answer = await ask(page, '/version', { headers: { authorization: 'Bearer abc' } });
    expect(answer.status).toBe(502);
    expect(api.seen).toEqual([]);
  });

  it('breaks off where the API breaks off', async () => {
    const api = await fakeApi((request, response) => {
      response.writeHead(200, { 'content-length': '1000' });
      response.write('half', () => request.socket.destroy());
    });
    await expect(ask(await start(api), SPOKES)).rejects.toThrow('aborted');
  });
});

describe('a watch', () => {
  it('passes through piece by piece, and ends at the API when the browser leaves', async () => {
    let left = false;
    let send: (text: string) => void = () => undefined;
    const api = await fakeApi((_, response) => {
      response.on('close', () => {
        left = true;
      });
      response.writeHead(200, { 'content-type': 'application/json' });
      response.flushHeaders();
      send = (text) => void response.write(text);
    });
    const response = await open(await start(api), `${SPOKES}?watch=1`);
    expect(response.statusCode).toBe(200);
    const pieces: string[] = [];
    response.on('data', (chunk: Buffer) => pieces.push(chunk.toString()));
    response.on('error', () => undefined);
    send('{"type":"ADDED"}\n');
    await eventually(() => pieces.length === 1);
    send('{"type":"MODIFIED"}\n');
    await eventually(() => pieces.length === 2);
    expect(left).toBe(false);
    response.destroy();
    await eventually(() => left);
  });

  it('waits for a slow browser instead of keeping what it has not read', async () => {
    let sent = 0;
    const chunk = Buffer.alloc(64 * 1024);
    const api = await fakeApi((_, response) => {
      const more = (): void => {
        while (sent < 256 * 1024 * 1024 && !response.destroyed) {
          sent += chunk.length;
          if (!response.write(chunk)) {
            response.once('drain', more);
            return;
          }
        }
        response.end();
      };
      more();
    });
    const response = await open(await start(api), `${SPOKES}?watch=1`);
    response.pause();
    let last = -1;
    await eventually(() => {
      const still = sent === last;
      last = sent;
      return still;
    }, 10_000);
    expect(sent).toBeLessThan(64 * 1024 * 1024);
    response.destroy();
  });

  it('does not keep the console from closing', async () => {
    const api = await fakeApi((_, response) => {
      response.writeHead(200);
      response.flushHeaders();
    });
    const page = await start(api);
    const response = await open(page, `${SPOKES}?watch=true`);
    const ended = once(response, 'error');
    response.resume();
    cleanups.pop();
    await page.close();
    await ended;
  });
});

describe('the server', () => {
  it('says which port is in use', async () => {
    const page = await start(NOWHERE);
    const port = Number(new URL(page.url).port);
    await expect(start(NOWHERE, { port })).rejects.toMatchObject({ code: 'EADDRINUSE' });
  });

  it('speaks TLS only', async () => {
    const page = await start(NOWHERE);
    const { hostname, port } = new URL(page.url);
    const socket = connect(Number(port), hostname);
    socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    socket.on('error', () => undefined);
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
    });
    await once(socket, 'close');
    expect(text).not.toContain('HTTP/1.1');
  });

  it('uses another certificate when it is told to', async () => {
    const page = await start(NOWHERE);
    const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
    const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const made = await x509.X509CertificateGenerator.createSelfSigned({
      ...{ name: 'CN=second', keys, signingAlgorithm: algorithm },
    });
    const key = await crypto.subtle.exportKey('pkcs8', keys.privateKey);
    page.setTls({ cert: made.toString('pem'), key: x509.PemConverter.encode(key, 'PRIVATE KEY') });
    const { hostname, port } = new URL(page.url);
    const request = httpsRequest({ hostname, port, agent: false, rejectUnauthorized: false }).end();
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    const { socket } = response;
    expect(socket instanceof TLSSocket && socket.getPeerCertificate().subject.CN).toBe('second');
    response.destroy();
  });
});
