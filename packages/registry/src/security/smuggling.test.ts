import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { RegistryFixture } from '../fixture.ts';
import { exchangeRaw } from './raw.ts';

const HIDDEN = 'DELETE /v2/app/manifests/v1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';
const PATH = `/v2/app/blobs/uploads/?digest=sha256:${'a'.repeat(64)}`;
const POST = `POST ${PATH} HTTP/1.1\r\nHost: x\r\n`;
const chunked = (size: string, data = 'abc'): string => `${size}\r\n${data}\r\n0\r\n\r\n`;

/** Requests of which two readers could see different ends, each with a request hidden behind the doubt. */
const DOUBTFUL: readonly (readonly [string, string])[] = [
  [
    'a Content-Length and chunks',
    `${POST}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${HIDDEN}`,
  ],
  [
    'chunks and a Content-Length',
    `${POST}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n${HIDDEN}`,
  ],
  ['two lengths', `${POST}Content-Length: 0\r\nContent-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`],
  ['a list of lengths', `${POST}Content-Length: 0, ${HIDDEN.length}\r\n\r\n${HIDDEN}`],
  ['a length with a sign', `${POST}Content-Length: +0\r\n\r\n${HIDDEN}`],
  ['a negative length', `${POST}Content-Length: -1\r\n\r\n${HIDDEN}`],
  ['a length in hexadecimal', `${POST}Content-Length: 0x0\r\n\r\n${HIDDEN}`],
  ['a length without end', `${POST}Content-Length: ${'9'.repeat(40)}\r\n\r\n${HIDDEN}`],
  [
    'a coding before chunked that is not chunked',
    `${POST}Transfer-Encoding: xchunked\r\n\r\n${chunked('3')}${HIDDEN}`,
  ],
  [
    'chunked that is not the last coding',
    `${POST}Transfer-Encoding: chunked, identity\r\n\r\n${chunked('3')}${HIDDEN}`,
  ],
  ['a chunk size that is no number', `${POST}Transfer-Encoding: chunked\r\n\r\n${chunked('xyz')}${HIDDEN}`],
  ['a negative chunk size', `${POST}Transfer-Encoding: chunked\r\n\r\n${chunked('-3')}${HIDDEN}`],
  [
    'a chunk size that overflows',
    `${POST}Transfer-Encoding: chunked\r\n\r\n${chunked('f'.repeat(20))}${HIDDEN}`,
  ],
  ['a chunk longer than it says', `${POST}Transfer-Encoding: chunked\r\n\r\n${chunked('1')}${HIDDEN}`],
  ['a header that goes on in the next line', `${POST}X-A: b\r\n Content-Length: 5\r\n\r\n${HIDDEN}`],
  ['a coding in a folded header', `${POST}Transfer-Encoding:\r\n chunked\r\n\r\n${chunked('3')}${HIDDEN}`],
  ['a space before the colon', `${POST}Content-Length : 5\r\n\r\n${HIDDEN}`],
  ['a header without a name', `${POST}: 5\r\n\r\n${HIDDEN}`],
  ['a NUL in a header', `${POST}X-A: a\0b\r\n\r\n${HIDDEN}`],
  ['lines that end with CR alone', `${POST}X-A: b\rContent-Length: 5\r\r\n\r\n${HIDDEN}`],
  ['a request line with a space in the path', `POST /v2/app blobs HTTP/1.1\r\nHost: x\r\n\r\n${HIDDEN}`],
];

describe('requests that could be read in two ways', () => {
  let fixture: RegistryFixture;
  beforeAll(async () => {
    fixture = await RegistryFixture.start({ idleTimeoutMs: 2000 });
  });
  beforeEach(() => fixture.pushImage('app', 'v1'));
  afterAll(() => fixture.stop());

  it.each(DOUBTFUL)('%s: refused, and nothing behind it is run', async (_what, text) => {
    const { statuses } = await exchangeRaw(fixture.registry.host, text);
    expect(statuses).toHaveLength(1);
    expect(statuses[0]).toBeGreaterThanOrEqual(400);
    expect(statuses[0]).toBeLessThan(500);
    expect((await fixture.send('HEAD', '/v2/app/manifests/v1')).status).toBe(200);
  });

  it('a body that looks like a request is a body', async () => {
    const head = `POST ${PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${HIDDEN.length}\r\n\r\n`;
    expect((await exchangeRaw(fixture.registry.host, head + HIDDEN)).statuses).toEqual([400]);
    expect((await fixture.send('HEAD', '/v2/app/manifests/v1')).status).toBe(200);
  });

  it('requests that follow each other are answered in their order', async () => {
    const get = (tag: string, end = ''): string =>
      `GET /v2/app/manifests/${tag} HTTP/1.1\r\nHost: x\r\n${end}\r\n`;
    const text = get('v1') + get('none') + get('v1', 'Connection: close\r\n');
    expect((await exchangeRaw(fixture.registry.host, text)).statuses).toEqual([200, 404, 200]);
  });

  it.each([
    'CONNECT 127.0.0.1:22 HTTP/1.1',
    'GET http://other.example/v2/app/tags/list HTTP/1.1',
    'GET * HTTP/1.1',
  ])('it is no proxy: %s', async (line) => {
    const text = `${line}\r\nHost: other.example\r\nConnection: close\r\n\r\n`;
    const { statuses, received } = await exchangeRaw(fixture.registry.host, text);
    expect(statuses.every((status) => status >= 400)).toBe(true);
    expect(received).not.toContain('"tags"');
  });

  it.each([
    ['Upgrade: h2c\r\nConnection: Upgrade, close, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n'],
    ['X-HTTP-Method-Override: DELETE\r\nX-Method-Override: DELETE\r\nConnection: close\r\n'],
    ['X-Original-URL: /v2/_catalog\r\nX-Rewrite-URL: /v2/_catalog\r\nConnection: close\r\n'],
    ['X-Forwarded-Host: evil.example\r\nForwarded: host=evil.example\r\nConnection: close\r\n'],
  ])('headers do not change what is asked: %s', async (headers) => {
    const text = `GET /v2/app/tags/list HTTP/1.1\r\nHost: x\r\n${headers}\r\n`;
    const { statuses, received } = await exchangeRaw(fixture.registry.host, text);
    expect(statuses).toEqual([200]);
    expect(received).toContain('"tags":["v1"]');
    expect(received).not.toContain('evil.example');
  });
});
