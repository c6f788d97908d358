import { PassThrough } from 'node:stream';
import type { Socket } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { HttpResponse } from './message.ts';
import { Outbox } from './outbox.ts';
import { PlainResponse } from './plain-response.ts';

interface Answering {
  readonly response: PlainResponse;
  readonly socket: PassThrough;
  /** How often the connection was told that the answer is with the kernel. */
  readonly ended: () => number;
  /** What has been sent, head and body. */
  readonly sent: () => { readonly head: string; readonly lines: string[]; readonly body: Buffer };
}

function answering(method = 'GET', last = false): Answering {
  const socket = new PassThrough({ highWaterMark: 64 * 1024 });
  const pieces: Buffer[] = [];
  socket.on('data', (piece: Buffer) => pieces.push(Buffer.from(piece)));
  socket.on('error', () => undefined);
  let ended = 0;
  const connection = {
    last,
    outbox: new Outbox(),
    ended: (): undefined => {
      ended += 1;
      response.close();
    },
  };
  const response = new PlainResponse(socket as unknown as Socket, { method }, connection);
  const sent = (): ReturnType<Answering['sent']> => {
    const all = Buffer.concat(pieces);
    const end = all.indexOf('\r\n\r\n');
    const head = all.toString('latin1', 0, Math.max(end, 0));
    return { head, lines: head.split('\r\n'), body: all.subarray(end + 4) };
  };
  return { response, socket, ended: () => ended, sent };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('the head of an answer', () => {
  it('says status, date, how the connection goes on, and the headers as they were given', async () => {
    const { response, sent } = answering();
    response.writeHead(200, { 'content-length': 2, etag: '"a"', 'x-b': 'c\td' });
    response.end('{}');
    await turn();
    const [status, date, ...rest] = sent().lines;
    expect(status).toBe('HTTP/1.1 200 OK');
    expect(date).toMatch(
      /^date: (Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/,
    );
    expect(Math.abs(Date.parse(date?.slice(6) ?? '') - Date.now())).toBeLessThan(5000);
    expect(rest).toEqual([
      'connection: keep-alive',
      'keep-alive: timeout=75',
      'content-length: 2',
      'etag: "a"',
      'x-b: c\td',
    ]);
    expect(String(sent().body)).toBe('{}');
  });

  it.each([
    [404, 'Not Found'],
    [416, 'Range Not Satisfiable'],
    [599, 'Unknown'],
  ])('%i %s', async (status, phrase) => {
    const { response, sent } = answering();
    response.writeHead(status, { 'content-length': 0 });
    response.end();
    await turn();
    expect(sent().lines[0]).toBe(`HTTP/1.1 ${status} ${phrase}`);
    expect(response.statusCode).toBe(status);
  });

  it('several values of one header are several lines', async () => {
    const { response, sent } = answering();
    response.setHeader('www-authenticate', ['Basic realm="a"', 'Bearer realm="b"']);
    response.setHeader('warning', 'x');
    response.writeHead(401, { 'content-length': 0 });
    response.end();
    await turn();
    const own = sent().lines.filter((line) => /^(www|warning)/.test(line));
    expect(own).toEqual([
      'www-authenticate: Basic realm="a"',
      'www-authenticate: Bearer realm="b"',
      'warning: x',
    ]);
  });

  it.each([
    ['the registry wants it', false],
    ['the connection is at its end', true],
  ])('says that the connection closes when %s', async (_why, last) => {
    const { response, sent } = answering('GET', last);
    if (!last) response.setHeader('connection', 'close');
    response.writeHead(200, { 'content-length': 0 });
    response.end();
    await turn();
    expect(response.closes).toBe(true);
    expect(sent().lines.filter((line) => /^(connection|keep-alive)/.test(line))).toEqual([
      'connection: close',
    ]);
  });

  it('is sent once', () => {
    const { response } = answering();
    response.writeHead(200, { 'content-length': 0 });
    expect(response.headersSent).toBe(true);
    expect(() => response.writeHead(500, { 'content-length': 0 })).toThrow('has been sent');
  });

  it.each([{}, { 'content-length': 'x' }, { 'content-length': -1 }, { 'content-length': NaN }])(
    'without the length of what follows there is none: %j',
    (headers) => {
      expect(() => answering().response.writeHead(200, headers)).toThrow('is not known');
    },
  );
});

const BAD_VALUES = ['a\r\nb: c', 'a\nb', 'a\rb', 'a\0', '\r\n\r\n<html>', '\x7f', 'é', '\u010a', '\u{1f600}'];
const BAD_NAMES = ['', 'a b', 'a:', 'a\r\nb', 'a\n', 'é', 'a\0', '(a)', 'a\u010a'];

describe('an answer is one answer', () => {
  const safe = (response: HttpResponse, act: () => void, sent: Answering['sent']): void => {
    expect(act).toThrow(TypeError);
    expect(sent().lines).toEqual(['']);
    expect(response.destroyed).toBe(false);
  };

  it.each(BAD_VALUES)('a value %j is refused', (value) => {
    const { response, sent } = answering();
    safe(response, () => response.setHeader('location', value), sent);
    safe(response, () => response.setHeader('link', ['fine', value]), sent);
    safe(response, () => response.writeHead(200, { 'content-length': 0, location: value }), sent);
    // The answer can still be an error.
    response.writeHead(500, { 'content-length': 0 });
    expect(response.statusCode).toBe(500);
  });

  it.each(BAD_NAMES)('a name %j is refused', (name) => {
    const { response, sent } = answering();
    safe(response, () => response.setHeader(name, 'a'), sent);
    safe(response, () => response.writeHead(200, { 'content-length': 0, [name]: 'a' }), sent);
    safe(response, () => response.writeHead(200, { 'content-length': 0, [name]: 1 }), sent);
  });

  it('whatever is put into headers, each is one line or none', async () => {
    const text = fc.string({
      unit: fc.oneof(fc.constantFrom('\r', '\n', ':', ' ', '\0'), fc.string({ minLength: 1, maxLength: 1 })),
    });
    const property = fc.asyncProperty(fc.array(fc.tuple(text, text), { maxLength: 5 }), async (headers) => {
      const { response, sent } = answering();
      let good = 0;
      for (const [name, value] of headers) {
        if (name === 'connection') continue;
        try {
          response.setHeader(name, value);
          good += 1;
        } catch {
          continue;
        }
      }
      response.writeHead(200, { 'content-length': 4 });
      response.end('body');
      await turn();
      expect(sent().lines).toHaveLength(5 + good);
      expect(String(sent().body)).toBe('body');
    });
    await fc.assert(property, { numRuns: 200 });
  });
});

describe('the body of an answer', () => {
  it('has exactly its bytes, small or large, in one piece or many', async () => {
    const sizes = fc.array(fc.oneof(fc.nat(100), fc.constantFrom(16_383, 16_384, 16_385, 200_000)), {
      maxLength: 6,
    });
    const property = fc.asyncProperty(sizes, fc.boolean(), async (pieces, lastWithEnd) => {
      const { response, sent, ended } = answering();
      const content = pieces.map((size, index) => Buffer.alloc(size, index + 1));
      const all = Buffer.concat(content);
      response.writeHead(200, { 'content-length': all.length });
      const last = lastWithEnd ? content.pop() : undefined;
      for (const piece of content) await new Promise((resolve) => response.write(piece, resolve));
      response.end(last);
      await turn();
      expect(sent().lines[0]).toBe('HTTP/1.1 200 OK');
      expect(sent().body.equals(all)).toBe(true);
      expect(ended()).toBe(1);
    });
    await fc.assert(property, { numRuns: 100 });
  });

  it('text is sent as UTF-8, and its length is that of its bytes', async () => {
    const { response, sent } = answering();
    response.writeHead(200, { 'content-length': 6 });
    response.end('é€x');
    await turn();
    expect(String(sent().body)).toBe('é€x');
  });

  it.each([
    ['HEAD', 200],
    ['GET', 204],
    ['GET', 304],
  ])('%s, %i: has none, whatever length is told', async (method, status) => {
    const { response, sent, ended } = answering(method);
    response.writeHead(status, status === 200 ? { 'content-length': 1000 } : {});
    response.end();
    await turn();
    expect([sent().body.length, ended(), response.closes]).toEqual([0, 1, false]);
    expect(sent().head.includes('content-length: 1000')).toBe(status === 200);
  });

  it.each([
    ['HEAD', 200],
    ['GET', 204],
    ['GET', 304],
  ])('%s, %i: bytes for it are an error, and none is sent', async (method, status) => {
    const { response, sent } = answering(method);
    response.writeHead(status, { 'content-length': 4 });
    expect(() => response.end('body')).toThrow('More than the length');
    await turn();
    expect(sent().body.length).toBe(0);
  });

  it('a longer one than was told is an error, and nothing of what is too much is sent', async () => {
    const { response, sent } = answering();
    response.writeHead(200, { 'content-length': 4 });
    response.write('abc');
    expect(() => response.write('de')).toThrow('More than the length');
    await turn();
    expect(String(sent().body)).toBe('abc');
  });

  it('a shorter one than was told breaks the connection, so that a part is not taken for the whole', async () => {
    const { response, socket, ended } = answering();
    response.writeHead(200, { 'content-length': 4 });
    response.end('abc');
    await turn();
    expect([socket.destroyed, response.destroyed, ended()]).toEqual([true, true, 0]);
  });

  it('a body that was told of and never came breaks the connection', async () => {
    const { response, socket } = answering();
    response.writeHead(200, { 'content-length': 4 });
    response.end();
    await turn();
    expect(socket.destroyed).toBe(true);
  });
});

describe('the end of an answer', () => {
  it('is told once, to those who still want to know', async () => {
    const { response } = answering();
    const told: string[] = [];
    const gone = (): void => void told.push('gone');
    response.once('close', () => told.push('a'));
    response.once('close', gone);
    response.once('close', () => told.push('b'));
    response.off('close', gone);
    response.writeHead(200, { 'content-length': 0 });
    response.end();
    await turn();
    response.close();
    expect(told).toEqual(['a', 'b']);
    expect(response.destroyed).toBe(true);
  });

  it('comes when all bytes are with the kernel, not before', async () => {
    const { response, socket, ended, sent } = answering();
    socket.pause();
    response.writeHead(200, { 'content-length': 1_000_000 });
    response.end(Buffer.alloc(1_000_000));
    await turn();
    expect(ended()).toBe(0);
    socket.resume();
    await turn();
    await turn();
    expect([ended(), sent().body.length]).toEqual([1, 1_000_000]);
  });

  it('comes with the others of its turn, and one whose connection is gone meanwhile holds none up', async () => {
    const outbox = new Outbox();
    const order: string[] = [];
    const one = (name: string): { response: PlainResponse; socket: PassThrough } => {
      const socket = new PassThrough();
      const connection = { last: false, outbox, ended: (): void => void order.push(name) };
      const response = new PlainResponse(socket as unknown as Socket, { method: 'GET' }, connection);
      response.writeHead(200, { 'content-length': 1 });
      response.end(name);
      return { response, socket };
    };
    const [a, gone, b] = [one('a'), one('x'), one('b')];
    expect([order, a.socket.readableLength]).toEqual([[], 0]);
    gone.response.destroy();
    await turn();
    expect(order).toEqual(['a', 'b']);
    expect([a, b].map(({ socket }) => String(socket.read()).slice(-1))).toEqual(['a', 'b']);
  });

  it('what is written after the connection is gone says so', async () => {
    const { response, socket, ended } = answering();
    response.writeHead(200, { 'content-length': 10 });
    socket.destroy();
    await turn();
    const error = await new Promise((resolve) => response.write('abc', resolve));
    expect(error).toBeInstanceOf(Error);
    response.end('abc');
    response.close();
    response.end();
    expect([response.destroyed, ended()]).toEqual([true, 0]);
  });
});
