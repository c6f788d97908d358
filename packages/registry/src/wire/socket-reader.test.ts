import { once } from 'node:events';
import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { eventually } from '@mural/core/testing';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { selfSigned } from '../fixture-certificate.ts';
import { type ByteTaker, openReader, readStream, type SocketReader } from './socket-reader.ts';

const open: { readonly server: Server; readonly sockets: Socket[] }[] = [];
afterEach(async () => {
  for (const { server, sockets } of open.splice(0)) {
    sockets.forEach((socket) => socket.destroy());
    await new Promise((resolve) => server.close(resolve));
  }
});

interface Opened {
  readonly accepted: Socket;
  readonly reader: SocketReader;
  readonly client: Socket;
  readonly server: Server;
}

async function openPair(
  taker: ByteTaker,
  direct: boolean,
  transport: 'plain' | 'tls' = 'plain',
): Promise<Opened> {
  const tls = transport === 'tls';
  const server = tls ? createTlsServer(selfSigned()) : createServer({ allowHalfOpen: true, noDelay: true });
  const sockets: Socket[] = [];
  open.push({ server, sockets });
  const reading = Promise.withResolvers<{ accepted: Socket; reader: SocketReader }>();
  server.on(tls ? 'secureConnection' : 'connection', (accepted: Socket) => {
    const reader = direct ? openReader(accepted, taker) : readStream(accepted, taker);
    accepted.on('error', () => undefined);
    sockets.push(accepted);
    reader.start();
    reading.resolve({ accepted, reader });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = tls
    ? connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
    : connect(port, '127.0.0.1');
  client.on('error', () => undefined);
  sockets.push(client);
  await once(client, tls ? 'secureConnect' : 'connect');
  return { ...(await reading.promise), client, server };
}

/** Takes what comes into pieces, as long as it is told to. */
class Pieces implements ByteTaker {
  readonly pieces: Buffer[] = [];
  more = true;
  room(): Uint8Array | undefined {
    return undefined;
  }
  arrived(): boolean {
    throw new Error('no room was lent');
  }
  take(bytes: Buffer): boolean {
    this.pieces.push(Buffer.from(bytes));
    return this.more;
  }
  get all(): Buffer {
    return Buffer.concat(this.pieces);
  }
}

const numbered = (length: number): Buffer =>
  Buffer.from(Array.from({ length }, (_none, at) => (at * 7) & 255));
const moment = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 30));

describe('reading into memory of ours', () => {
  it.each(['plain', 'tls'] as const)('is what this Node does for %s connections', async (transport) => {
    // Where this fails, a new Node is made otherwise inside: connections are still served, but each read of
    // a body gets a buffer of its own again, at four times the CPU.
    const target = new Uint8Array(10);
    const arrived: number[] = [];
    let taken = 0;
    const taker: ByteTaker = {
      room: () => target,
      arrived: (bytes) => {
        arrived.push(bytes);
        return true;
      },
      take: () => {
        taken += 1;
        return true;
      },
    };
    const { client } = await openPair(taker, true, transport);
    client.write('abcde');
    await eventually(() => arrived.length === 1);
    expect([arrived, taken, String(Buffer.from(target.subarray(0, 5)))]).toEqual([[5], 0, 'abcde']);
  });

  it('writes nowhere but where it was told to', async () => {
    const rooms = fc.array(fc.integer({ min: 0, max: 3000 }), { minLength: 1, maxLength: 10 });
    const property = fc.asyncProperty(rooms, fc.integer({ min: 1, max: 50_000 }), async (sizes, length) => {
      const got: Buffer[] = [];
      let [turn, count] = [0, 0];
      let lent: Uint8Array | undefined;
      const put = (bytes: Uint8Array): boolean => {
        got.push(Buffer.from(bytes));
        count += bytes.length;
        return true;
      };
      const taker: ByteTaker = {
        room: () => {
          const size = sizes[turn % sizes.length] ?? 0;
          turn += 1;
          lent = size === 0 ? undefined : new Uint8Array(size + 2).fill(0xcc).subarray(1, size + 1);
          return lent;
        },
        arrived: (bytes) => {
          const memory = new Uint8Array(lent?.buffer ?? new ArrayBuffer(0));
          expect([memory[0], memory.at(-1)]).toEqual([0xcc, 0xcc]);
          return put(memory.subarray(1, bytes + 1));
        },
        take: (bytes) => put(bytes),
      };
      const { client, server } = await openPair(taker, true);
      client.end(numbered(length));
      await eventually(() => count >= length, 5000, 1);
      expect(Buffer.concat(got).equals(numbered(length))).toBe(true);
      client.destroy();
      server.close();
    });
    await fc.assert(property, { numRuns: 40 });
  });
});

describe.each([
  ['directly', true],
  ['as a stream', false],
])('a connection that is read %s', (_how, direct) => {
  it('gives its bytes in order, then its end', async () => {
    const taker = new Pieces();
    const { accepted, client } = await openPair(taker, direct);
    const ended = once(accepted, 'end');
    const content = numbered(300_000);
    client.end(content);
    await ended;
    expect(taker.all.equals(content)).toBe(true);
    // The other direction is still open.
    const answered = once(client, 'data');
    accepted.write('answer');
    expect(String((await answered)[0])).toBe('answer');
  });

  it('waits where it was told to, and goes on when it is told to', async () => {
    const taker = new Pieces();
    taker.more = false;
    const { reader, client } = await openPair(taker, direct);
    client.write('a');
    await eventually(() => taker.pieces.length === 1);
    client.write('b');
    await moment();
    expect(String(taker.all)).toBe('a');
    reader.resume();
    await eventually(() => taker.pieces.length === 2);
    client.write('c');
    await moment();
    expect(String(taker.all)).toBe('ab');
    taker.more = true;
    reader.resume();
    reader.resume();
    await eventually(() => taker.pieces.length === 3);
    client.write('d');
    await eventually(() => String(taker.all) === 'abcd');
  });

  it.each([
    ['while it is read', true],
    ['while it waits', false],
  ])('is a socket as any other once it is released %s', async (_when, more) => {
    const taker = new Pieces();
    taker.more = more;
    const { accepted, reader, client } = await openPair(taker, direct);
    client.write('first');
    await eventually(() => taker.pieces.length === 1);
    reader.release();
    const got: Buffer[] = [];
    accepted.unshift(Buffer.from('again '));
    accepted.on('data', (piece: Buffer) => got.push(piece));
    const ended = once(accepted, 'end');
    accepted.pause();
    client.end(numbered(200_000));
    await moment();
    accepted.resume();
    await ended;
    expect(Buffer.concat(got).equals(Buffer.concat([Buffer.from('again '), numbered(200_000)]))).toBe(true);
    expect(String(taker.all)).toBe('first');
  });

  it('knows its client, counts its bytes, and is counted by its server until it is closed', async () => {
    const taker = new Pieces();
    const { accepted, client, server } = await openPair(taker, direct);
    const connections = (): Promise<number> =>
      new Promise((resolve) => server.getConnections((_error, count) => resolve(count)));
    client.write('abc');
    await eventually(() => taker.pieces.length === 1);
    expect([accepted.remoteAddress, accepted.remotePort]).toEqual(['127.0.0.1', client.localPort]);
    expect([accepted.bytesRead, await connections()]).toEqual([3, 1]);
    const closed = once(accepted, 'close');
    accepted.destroy();
    await closed;
    expect(await connections()).toBe(0);
  });

  it('that breaks is closed with what went wrong', async () => {
    const { accepted, client } = await openPair(new Pieces(), direct);
    const failed = once(accepted, 'error');
    client.resetAndDestroy();
    expect((await failed)[0]).toMatchObject({ code: 'ECONNRESET' });
  });

  it('that is silent ends when its time is over', async () => {
    const { accepted } = await openPair(new Pieces(), direct);
    const timedOut = once(accepted, 'timeout');
    accepted.setTimeout(30);
    await timedOut;
  });
});
