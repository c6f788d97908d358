import { createServer } from 'node:http';
import { duplexPair } from 'node:stream';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { Chunks } from './chunks.ts';

interface Read {
  readonly payload: string;
  /** Bytes up to the end of the body. */
  readonly size: number;
  readonly ended: boolean;
}

/** Reads a text in pieces of `step` bytes. @throws RegistryError `BodyInvalid` */
function readInSteps(text: string, step: number): Read {
  const bytes = Buffer.from(text, 'latin1');
  const chunks = new Chunks();
  let payload = '';
  let at = 0;
  while (at < bytes.length && !chunks.ended) {
    const piece = bytes.subarray(at, at + step);
    let within = chunks.read(piece);
    const part = piece.subarray(within, within + chunks.payload);
    if (part.length > 0) chunks.passed(part.length);
    payload += part.toString('latin1');
    within += part.length;
    at += within;
  }
  return { payload, size: at, ended: chunks.ended };
}

describe('chunks', () => {
  it.each([
    ['one', '5\r\nhello\r\n0\r\n\r\n', 'hello'],
    ['several', '5\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\n\r\n', 'hello world'],
    ['none', '0\r\n\r\n', ''],
    [
      'sizes in both cases and with zeros before',
      'A\r\n0123456789\r\n0000000a\r\n0123456789\r\n000\r\n\r\n',
      '01234567890123456789',
    ],
    ['lines in the payload', '4\r\n\r\n0\r\r\n0\r\n\r\n', '\r\n0\r'],
    ['extensions, which are ignored', '2;a=b;c=d\r\nhi\r\n0;x\r\n\r\n', 'hi'],
  ])('%s, however they are cut', (_what, text, payload) => {
    for (let step = 1; step <= text.length; step += 1) {
      expect(readInSteps(text, step)).toEqual({ payload, size: text.length, ended: true });
    }
  });

  it('end where the body ends: what follows is not theirs', () => {
    expect(readInSteps('1\r\na\r\n0\r\n\r\nGET /', 100)).toEqual({ payload: 'a', size: 11, ended: true });
  });

  it.each([
    ['a size with a sign', '+1\r\na\r\n'],
    ['a negative size', '-1\r\na\r\n'],
    ['a size with a prefix', '0x1\r\na\r\n'],
    ['a size with an underscore', '1_0\r\n'],
    ['a size that does not fit', '100000000\r\n'],
    ['no size', '\r\n'],
    ['an extension without size', ';a\r\n'],
    ['an extension with a quoted value', '1;a="b"\r\na\r\n'],
    ['an extension after a blank', '1 ;a\r\na\r\n'],
    ['a blank before the size', ' 1\r\na\r\n'],
    ['a blank after the size', '1 \r\na\r\n'],
    ['a line that ends with LF alone', '1\na\r\n'],
    ['an extension that ends with LF alone', '1;a\na\r\n'],
    ['a CR within a line', '1\ra\r\n'],
    ['a NUL in an extension', '1;\0\r\n'],
    ['a line without end', `1;${'a'.repeat(300)}`],
    ['a chunk that is longer than it says', '1\r\nab\r\n'],
    ['a chunk that is shorter than it says', '3\r\nab\r\n0\r\n\r\n'],
    ['a chunk that ends with LF alone', '1\r\na\n0\r\n\r\n'],
    ['trailers', '0\r\nContent-Length: 5\r\n\r\n'],
  ])('are refused: %s', (_what, text) => {
    for (const step of [1, 2, 3, text.length]) {
      expect(() => readInSteps(text, step)).toThrow(expect.objectContaining({ code: 'BodyInvalid' }));
    }
  });
});

const HEAD = 'POST /v2/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n';
const END = 'GET /end HTTP/1.1\r\nHost: x\r\n\r\n';
let payloads: string[] = [];
let finished = Promise.withResolvers<undefined>();
const node = createServer((request, response) => {
  let payload = '';
  request.setEncoding('latin1');
  request.on('data', (text: string) => (payload += text));
  request.on('end', () => {
    payloads.push(request.url === '/end' ? 'the end' : payload);
    if (request.url === '/end') finished.resolve(undefined);
    response.end();
  });
});
node.on('clientError', () => finished.resolve(undefined));
afterAll(() => node.close());

/** What Node reads of a body in chunks and of the request after it. */
async function readByNode(text: string): Promise<string[]> {
  const [ours, theirs] = duplexPair();
  payloads = [];
  finished = Promise.withResolvers();
  node.emit('connection', theirs);
  ours.resume();
  ours.end(Buffer.from(`${HEAD}${text}${END}`, 'latin1'));
  await finished.promise;
  ours.destroy();
  theirs.destroy();
  return payloads;
}

const payloadText = fc.string({ unit: fc.constantFrom('a', '0', '\r', '\n', '\xff'), maxLength: 20 });
const chunk = fc
  .record({ payload: payloadText, extension: fc.constantFrom('', '', ';a', ';a=b', ';a=b;c') })
  .map(({ payload, extension }) => `${payload.length.toString(16)}${extension}\r\n${payload}\r\n`);
const mistake = fc.record({
  at: fc.nat({ max: 200 }),
  removed: fc.nat({ max: 3 }),
  added: fc.constantFrom('', '\r', '\n', '\r\n', '0', 'f', ';', ' ', '\t', '\0', 'X: y\r\n', '"', '-'),
});

it('what is read as chunks, Node reads as the same body, with the same request after it', async () => {
  let accepted = 0;
  const property = fc.asyncProperty(
    fc.array(chunk, { maxLength: 4 }),
    fc.array(mistake, { maxLength: 2 }),
    fc.integer({ min: 1, max: 50 }),
    async (chunks, mistakes, step) => {
      let text = `${chunks.filter((one) => !/^0/.test(one)).join('')}0\r\n\r\n`;
      for (const { at, removed, added } of mistakes) {
        text = text.slice(0, at) + added + text.slice(at + removed);
      }
      let read: Read;
      try {
        read = readInSteps(text, step);
      } catch {
        return;
      }
      if (!read.ended) return;
      accepted += 1;
      expect(await readByNode(text.slice(0, read.size))).toEqual([read.payload, 'the end']);
    },
  );
  await fc.assert(property, { numRuns: 3000 });
  expect(accepted).toBeGreaterThan(300);
});
