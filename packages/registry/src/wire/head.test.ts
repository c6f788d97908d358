import { createServer, type IncomingMessage } from 'node:http';
import { duplexPair } from 'node:stream';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { type Head, parsePlainHead } from './head.ts';

const LINE = 'GET /v2/app/manifests/v1 HTTP/1.1';
const POST = 'POST /v2/app/blobs/uploads/ HTTP/1.1';

function head(line: string, ...fields: readonly string[]): string {
  return `${[line, ...fields].join('\r\n')}\r\n\r\n`;
}

describe('plain heads', () => {
  it.each(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'])('a %s without body', (method) => {
    const read = parsePlainHead(head(`${method} /v2/a/tags/list?n=1 HTTP/1.1`, 'Host: registry:5000'));
    expect(read).toEqual({
      method,
      url: '/v2/a/tags/list?n=1',
      headers: { host: 'registry:5000' },
      length: 0,
    });
  });

  it.each(['POST', 'PUT', 'PATCH'])('a %s with a body of known length', (method) => {
    const read = parsePlainHead(
      head(`${method} /v2/ HTTP/1.1`, 'Host: x', 'Content-Length: 999999999999999'),
    );
    expect(read?.length).toBe(999_999_999_999_999);
  });

  it.each(['POST', 'PUT', 'PATCH'])('a %s with a body in chunks', (method) => {
    const read = parsePlainHead(head(`${method} /v2/ HTTP/1.1`, 'Host: x', 'transfer-encoding:chunked '));
    expect(read?.length).toBe('chunks');
  });

  it.each(['GET', 'HEAD', 'DELETE', 'PUT'])('a %s that says that it has no body', (method) => {
    expect(parsePlainHead(head(`${method} /v2/ HTTP/1.1`, 'Host: x', 'Content-Length: 0'))?.length).toBe(0);
  });

  it.each([
    ['names in lower case', 'ACCEPT: a/b', { accept: 'a/b' }],
    ['a value as it is inside', 'Accept: a/b,  c/d;q="0.5 :', { accept: 'a/b,  c/d;q="0.5 :' }],
    ['a value without the blanks around it', 'Accept: \t  a/b \t ', { accept: 'a/b' }],
    ['a value next to the colon', 'Accept:a/b', { accept: 'a/b' }],
    ['an empty value', 'Accept:', { accept: '' }],
    ['a value of blanks', 'Accept: \t ', { accept: '' }],
    ['a value of one character', 'Accept: *', { accept: '*' }],
    ['a connection that stays', 'Connection: Keep-Alive', { connection: 'Keep-Alive' }],
    ['every character of a name', "!#$%&'*+-.^_`|~09az: 1", { "!#$%&'*+-.^_`|~09az": '1' }],
  ])('%s', (_what, field, headers) => {
    expect(parsePlainHead(head(LINE, 'Host: x', field))?.headers).toEqual({ host: 'x', ...headers });
  });
});

/** Each is right or wrong for Node to say; here it is only not plain. */
const NOT_PLAIN: readonly (readonly [string, string])[] = [
  ['two lengths that agree', head(POST, 'Host: x', 'Content-Length: 3', 'Content-Length: 3')],
  ['two lengths that do not', head(POST, 'Host: x', 'Content-Length: 0', 'content-length: 3')],
  ...['+3', '-3', '03', '00', '3, 3', '3,', '3 3', '0x3', '3.0', '3e1', '', '"3"', '9'.repeat(16), '٣'].map(
    (length) => [`a length of ${length}`, head(POST, 'Host: x', `Content-Length: ${length}`)] as const,
  ),
  ...['Chunked', 'identity', 'gzip, chunked', 'chunked, chunked', 'chunked;a', '"chunked"', '', 'x'].map(
    (coding) =>
      [`a transfer coding ${coding}`, head(POST, 'Host: x', `tRANSFER-eNCODING:${coding}`)] as const,
  ),
  ...['0', '3'].map(
    (length) =>
      [
        `a length of ${length} and a transfer coding`,
        head(POST, 'Host: x', `Content-Length: ${length}`, 'Transfer-Encoding: chunked'),
      ] as const,
  ),
  ['two transfer codings', head(POST, 'Host: x', 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked')],
  ...['GET', 'HEAD', 'DELETE'].map(
    (method) =>
      [
        `chunks of a ${method}`,
        head(`${method} /v2/ HTTP/1.1`, 'Host: x', 'Transfer-Encoding: chunked'),
      ] as const,
  ),
  ['chunks with trailers', head(POST, 'Host: x', 'Transfer-Encoding: chunked', 'Trailer: a')],
  ['a transfer coding with a blank before its colon', head(POST, 'Host: x', 'Transfer-Encoding : chunked')],
  ['a header that goes on in the next line', head(POST, 'Host: x', 'A: b', ' Content-Length: 3')],
  ['a header that goes on after a tab', head(POST, 'Host: x', 'A: b', '\tc')],
  ['a first header that is folded', head(POST, ' Host: x')],
  ['a blank before the colon', head(POST, 'Host: x', 'Content-Length : 3')],
  ['a tab before the colon', head(POST, 'Host: x', 'Content-Length\t: 3')],
  ['a header without colon', head(LINE, 'Host: x', 'Accept')],
  ['a header without name', head(LINE, 'Host: x', ': a')],
  ['a bare LF between headers', head(LINE, 'Host: x\nContent-Length: 3')],
  ['a bare LF at the end of the request line', `${LINE}\nHost: x\r\n\r\n`],
  ['a bare CR in a header', head(LINE, 'Host: x', 'A: b\rContent-Length: 3')],
  ['a bare CR before the end of a line', head(LINE, 'Host: x', 'A: b\r')],
  ['a bare CR in the request line', head('GET /v2/\rx HTTP/1.1', 'Host: x')],
  ['an empty line before the end', head(LINE, 'Host: x', '', 'A: b')],
  ['an empty line first', `\r\n${head(LINE, 'Host: x')}`],
  ['a NUL in a header', head(LINE, 'Host: x', 'A: a\0b')],
  ['a NUL in the target', head('GET /v2/\0 HTTP/1.1', 'Host: x')],
  ['a NUL in a name', head(LINE, 'Host: x', 'A\0: b')],
  ['a DEL in a header', head(LINE, 'Host: x', 'A: a\x7fb')],
  ['a tab inside a value', head(LINE, 'Host: x', 'A: a\tb')],
  ['obs-text in a value', head(LINE, 'Host: x', 'A: \xe9')],
  ['obs-text in a name', head(LINE, 'Host: x', '\xe9: a')],
  ['obs-text in the target', head('GET /v2/\xe9 HTTP/1.1', 'Host: x')],
  ['a no-break space around a value', head(LINE, 'Host: x', 'A:\xa0a')],
  ...['HTTP/1.0', 'HTTP/0.9', 'HTTP/2.0', 'HTTP/1.2', 'http/1.1', 'HTTP/1.1 ', 'HTTP/01.1', 'HTTP/1.1x'].map(
    (version) => [`a version ${version}`, head(`GET /v2/ ${version}`, 'Host: x')] as const,
  ),
  ['no version', head('GET /v2/', 'Host: x')],
  ...['http://x/v2/', '*', 'x:443', 'v2/', '//v2/', '/', '/v2', '/V2/', '/token', '/metrics', ''].map(
    (target) => [`a target ${target}`, head(`GET ${target} HTTP/1.1`, 'Host: x')] as const,
  ),
  ['a fragment in the target', head('GET /v2/#a HTTP/1.1', 'Host: x')],
  ['a blank in the target', head('GET /v2/a b HTTP/1.1', 'Host: x')],
  ['two blanks in the request line', head('GET  /v2/ HTTP/1.1', 'Host: x')],
  ['a tab in the request line', head('GET\t/v2/ HTTP/1.1', 'Host: x')],
  ...['get', 'OPTIONS', 'CONNECT', 'TRACE', 'PRI', 'GETS', 'M-SEARCH', 'QUERY', ' GET', ''].map(
    (method) => [`a method ${method}`, head(`${method} /v2/ HTTP/1.1`, 'Host: x')] as const,
  ),
  ...['close', 'Close', 'upgrade', 'keep-alive, close', 'keep-alive, upgrade', 'te', 'x', ''].map(
    (value) => [`a connection ${value}`, head(LINE, 'Host: x', `Connection: ${value}`)] as const,
  ),
  ['two connections', head(LINE, 'Host: x', 'Connection: keep-alive', 'Connection: close')],
  ...['Upgrade: h2c', 'Expect: 100-continue', 'Expect: x', 'Trailer: A', 'TE: trailers', 'Keep-Alive: 5'].map(
    (field) => [`the header ${field}`, head(POST, 'Host: x', field)] as const,
  ),
  ['the header Proxy-Connection', head(LINE, 'Host: x', 'Proxy-Connection: keep-alive')],
  ['a header of which Node makes a list', head(LINE, 'Host: x', 'Set-Cookie: a=b')],
  ['a header twice', head(LINE, 'Host: x', 'Accept: a', 'ACCEPT: b')],
  ['credentials twice', head(LINE, 'Host: x', 'Authorization: a', 'Authorization: b')],
  ['two hosts', head(LINE, 'Host: x', 'Host: y')],
  ['no host', head(LINE, 'Accept: a')],
  ['no header at all', `${LINE}\r\n\r\n`],
  ['an empty host', head(LINE, 'Host:')],
  ['a host of blanks', head(LINE, 'Host: \t')],
  ...['__proto__', '__Proto__', 'constructor', 'CONSTRUCTOR'].map(
    (name) => [`a header ${name}`, head(LINE, 'Host: x', `${name}: a`)] as const,
  ),
  ...['GET', 'HEAD', 'DELETE'].map(
    (method) =>
      [`a body of a ${method}`, head(`${method} /v2/ HTTP/1.1`, 'Host: x', 'Content-Length: 1')] as const,
  ),
];

describe('heads that are left to the parser of Node', () => {
  it.each(NOT_PLAIN)('%s', (_what, text) => {
    expect(parsePlainHead(text)).toBeUndefined();
  });

  it('a header named as a member of every object changes no object', () => {
    for (const name of ['__proto__', 'constructor', 'valueOf', '__defineGetter__'])
      parsePlainHead(head(LINE, 'Host: x', `${name}: a`));
    expect(({} as Record<string, unknown>)['a']).toBeUndefined();
    const headers = parsePlainHead(head(LINE, 'Host: x', 'valueOf: a'))?.headers;
    expect(headers).toEqual({ host: 'x', valueof: 'a' });
  });

  it.each([
    ['blanks', ' '],
    ['tabs', '\t'],
    ['words', 'x '],
    ['colons', ':'],
  ])('many %s before what is wrong cost no time', (_what, part) => {
    const text = head(LINE, 'Host: x', `A:${part.repeat(8000 / part.length)}\x01`);
    const started = process.cpuUsage();
    for (let count = 0; count < 20; count += 1) expect(parsePlainHead(text)).toBeUndefined();
    // Every division of 8,000 blanks would be 30 ms each time.
    expect(process.cpuUsage(started).user / 1000).toBeLessThan(100);
  });
});

/** What Node's own parser makes of a connection. */
interface Reading {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly raw: number;
  readonly length: number;
}

const END = 'GET /v2/end-of-it HTTP/1.1\r\nHost: x\r\n\r\n';
const readings: Reading[] = [];
let finished = Promise.withResolvers<undefined>();
const node = createServer({ maxHeaderSize: 32 * 1024 });
node.on('request', (message, response) => {
  let length = 0;
  message.on('data', (bytes: Buffer) => (length += bytes.length));
  message.on('end', () => {
    const { method = '', url = '', headers, rawHeaders } = message;
    readings.push({ method, url, headers, raw: rawHeaders.length / 2, length });
    if (url === '/v2/end-of-it') finished.resolve(undefined);
    response.end();
  });
});
node.on('clientError', () => finished.resolve(undefined));
afterAll(() => node.close());

/** What Node reads when a head is followed by its body and by one more request. */
async function readByNode(text: string, body: Buffer): Promise<Reading[]> {
  const [ours, theirs] = duplexPair();
  readings.length = 0;
  finished = Promise.withResolvers<undefined>();
  node.emit('connection', theirs);
  ours.resume();
  ours.write(Buffer.concat([Buffer.from(text, 'latin1'), body, Buffer.from(END)]));
  await finished.promise;
  ours.destroy();
  theirs.destroy();
  return [...readings];
}

async function expectSame(text: string, read: Head): Promise<void> {
  const length = read.length === 'chunks' ? 5 : read.length;
  const body = read.length === 'chunks' ? Buffer.from('5\r\nbbbbb\r\n0\r\n\r\n') : Buffer.alloc(length, 'b');
  const seen = await readByNode(text, body);
  expect(seen.map(({ url }) => url)).toEqual([read.url, '/v2/end-of-it']);
  expect(seen[0]).toMatchObject({ method: read.method, url: read.url, length });
  expect({ ...seen[0]?.headers }).toEqual(read.headers);
  expect(seen[0]?.raw).toBe(Object.keys(read.headers).length);
}

const LARGEST_BODY = 100_000;
const character = fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code));
const nasty = fc.constantFrom(
  ...[
    '\r',
    '\n',
    '\r\n',
    '\r\n\r\n',
    '\0',
    ' ',
    '\t',
    ':',
    ',',
    '\x0b',
    '\x7f',
    '\x80',
    '\xff',
    '#',
    '?',
    '%',
  ],
  ...['Content-Length: 1\r\n', 'Transfer-Encoding: chunked\r\n', 'Host: y\r\n', 'Connection: close\r\n'],
  ...['chunked', '1', '0', 'HTTP/1.0', 'GET ', 'POST ', '//', '"', '<', '\\', '^', '`', '{', '|', '}', '~'],
);
const name = fc.oneof(
  fc.constantFrom('Accept', 'User-Agent', 'Range', 'content-type', 'Authorization', 'Cookie', 'set-cookie'),
  fc.constantFrom('referer', 'from', 'Age', 'etag', 'Server', 'max-forwards', 'if-modified-since', 'date'),
  fc.constantFrom('X-Forwarded-For', 'HTTP2-Settings', 'Content-Range', '__proto__', 'content-length ', 'te'),
  fc.stringMatching(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}$/),
);
const value = fc.oneof(
  fc.stringMatching(/^[ -~]{0,40}$/),
  fc.constantFrom('', ' ', '\t', '100-continue', 'chunked', 'keep-alive', 'bytes=0-5', '0', '17'),
);
const fields = fc.array(
  fc
    .tuple(name, fc.constantFrom('', ' ', '  ', '\t'), value)
    .map(([key, blank, text]) => `${key}:${blank}${text}`),
  { maxLength: 6 },
);
const length = fc.oneof(
  { weight: 3, arbitrary: fc.constant([]) },
  {
    weight: 3,
    arbitrary: fc.integer({ min: 0, max: LARGEST_BODY }).map((size) => [`Content-Length: ${size}`]),
  },
);
const wellFormed = fc
  .record({
    method: fc.constantFrom('GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'),
    target: fc.stringMatching(/^\/v2\/[!-~]{0,30}$/),
    host: fc.stringMatching(/^[!-~]{1,10}$/),
    length,
    fields,
    at: fc.nat(),
  })
  .map(({ method, target, host, length: size, fields: others, at }) => {
    const lines = [...others];
    lines.splice(at % (lines.length + 1), 0, `Host: ${host}`, ...size);
    return head(`${method} ${target} HTTP/1.1`, ...lines);
  });
const change = fc.record({
  at: fc.nat(),
  taken: fc.integer({ min: 0, max: 3 }),
  put: fc.oneof(fc.constant(''), character, nasty, nasty),
});

/** A head with changes, up to the first empty line in it, which is where the connection ends it. */
function mutate(text: string, changes: readonly { at: number; taken: number; put: string }[]): string {
  let changed = text;
  for (const { at, taken, put } of changes) {
    const position = at % (changed.length + 1);
    changed = changed.slice(0, position) + put + changed.slice(position + taken);
  }
  const end = changed.indexOf('\r\n\r\n');
  return end < 0 ? `${changed}\r\n\r\n` : changed.slice(0, end + 4);
}

describe('what is accepted is read by Node as the same single request', () => {
  it('heads that are well formed', async () => {
    let accepted = 0;
    const property = fc.asyncProperty(wellFormed, async (text) => {
      const read = parsePlainHead(text);
      if (read === undefined) return;
      accepted += 1;
      await expectSame(text, read);
    });
    await fc.assert(property, { numRuns: 1500 });
    expect(accepted).toBeGreaterThan(200);
  });

  it('heads with mistakes', async () => {
    let accepted = 0;
    const changes = fc.array(change, { minLength: 1, maxLength: 3 });
    const property = fc.asyncProperty(wellFormed, changes, async (text, made) => {
      const mutated = mutate(text, made);
      const read = parsePlainHead(mutated);
      if (read === undefined || Number(read.length) > LARGEST_BODY) return;
      accepted += 1;
      await expectSame(mutated, read);
    });
    await fc.assert(property, { numRuns: 4000 });
    expect(accepted).toBeGreaterThan(200);
  });
});
