import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { eventually } from '@mural/core/testing';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import {
  answer,
  chunkedPut,
  described,
  describeRequest,
  FrontFixture,
  readAll,
  requestOf,
  type Transport,
  type WireClient,
} from './fixture.ts';
import type { FrontOptions } from './front.ts';
import type { HttpRequest, HttpResponse } from './message.ts';

const MIB = 1024 * 1024;
const fixtures: FrontFixture[] = [];
afterEach(async () => {
  await Promise.all(fixtures.splice(0).map((fixture) => fixture.stop()));
});

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const bodies = (client: WireClient): string[] => client.answers().map(({ body }) => String(body));

type Serve = (request: HttpRequest, response: HttpResponse) => Promise<void>;

async function startFront(
  transport: Transport,
  serve?: Serve,
  options?: Partial<FrontOptions>,
): Promise<FrontFixture> {
  const fixture = await FrontFixture.start(transport, serve, options);
  fixtures.push(fixture);
  return fixture;
}

describe.each(['plain', 'tls'] as const)('over %s connections', (transport) => {
  const start = async (serve?: Serve, options?: Partial<FrontOptions>): Promise<FrontFixture> =>
    startFront(transport, serve, options);

  describe('requests that follow each other', () => {
    it('in one segment are answered in order, a body between them', async () => {
      const client = (await start()).connect();
      const body = randomBytes(20_000);
      const parts = [
        requestOf('PUT /v2/a', body),
        requestOf('GET /v2/b'),
        requestOf('HEAD /v2/c'),
        requestOf('PATCH /v2/d', 'GET /v2/hidden HTTP/1.1\r\nHost: x\r\n\r\n'),
        requestOf('DELETE /v2/e'),
      ];
      await client.write(Buffer.concat(parts));
      const methods = ['PUT', 'GET', 'HEAD', 'PATCH', 'DELETE'];
      await eventually(() => client.answers(methods).length === 5);
      const texts = client.answers(methods).map((one) => String(one.body));
      expect(texts[0]).toBe(described('PUT', '/v2/a', body));
      expect(texts[1]).toBe(described('GET', '/v2/b', Buffer.alloc(0)));
      expect(texts[2]).toBe('');
      expect(texts[3]).toMatch(/^PATCH \/v2\/d 36 /);
      expect(texts[4]).toMatch(/^DELETE \/v2\/e 0 /);
    });

    it('hundreds in one segment are answered one after the other', async () => {
      let [running, most] = [0, 0];
      const fixture = await start(async (request, response) => {
        running += 1;
        most = Math.max(most, running);
        await turn();
        running -= 1;
        await describeRequest(request, response);
      });
      const client = fixture.connect();
      const urls = Array.from({ length: 500 }, (_none, index) => `/v2/${index}`);
      await client.write(Buffer.concat(urls.map((url) => requestOf(`GET ${url}`))));
      await eventually(() => client.answers().length === urls.length);
      expect(bodies(client).map((text) => text.split(' ')[1])).toEqual(urls);
      expect(most).toBe(1);
    });

    it('the same request again and again is not taken for another one', async () => {
      const client = (await start()).connect();
      const urls = ['/v2/a', '/v2/a', '/v2/b', '/v2/a', '/v2/b', '/v2/b'];
      for (const [index, url] of urls.entries()) {
        await client.write(requestOf(`GET ${url}`));
        await eventually(() => client.answers().length === index + 1, 5000, 1);
      }
      expect(bodies(client).map((text) => text.split(' ')[1])).toEqual(urls);
    });

    const one = fc.oneof(
      fc.record({ kind: fc.constant('get' as const), at: fc.nat(99) }),
      fc.record({ kind: fc.constant('put' as const), at: fc.nat(99), size: fc.nat(3000) }),
      fc.record({ kind: fc.constant('put' as const), at: fc.nat(99), size: fc.nat(150_000) }),
      fc.record({ kind: fc.constant('unread' as const), at: fc.nat(99), size: fc.nat(50_000) }),
      fc.record({ kind: fc.constant('chunked' as const), at: fc.nat(99), size: fc.nat(30_000) }),
      fc.record({
        kind: fc.constant('expect' as const),
        at: fc.nat(99),
        size: fc.integer({ min: 1, max: 3000 }),
      }),
      fc.record({ kind: fc.constant('metrics' as const), at: fc.nat(99) }),
    );
    type One = typeof one extends fc.Arbitrary<infer T> ? T : never;
    const content = randomBytes(200_000);
    const said = (asked: One): { readonly bytes: Buffer; readonly text: string } => {
      const body = content.subarray(asked.at, asked.at + ('size' in asked ? asked.size : 0));
      const url = `/v2/${asked.kind}/${asked.at}`;
      const put = { text: described('PUT', url, body) };
      switch (asked.kind) {
        case 'get':
          return { bytes: requestOf(`GET ${url}`), text: described('GET', url, body) };
        case 'metrics':
          return { bytes: requestOf('GET /metrics'), text: described('GET', '/metrics', body) };
        case 'put':
          return { ...put, bytes: requestOf(`PUT ${url}`, body) };
        case 'unread':
          return { bytes: requestOf(`PUT ${url}`, body), text: 'unread' };
        case 'chunked':
          return { ...put, bytes: chunkedPut(url, body) };
        case 'expect':
          return { ...put, bytes: requestOf(`PUT ${url}`, body, ['Expect: 100-continue']) };
      }
    };

    it('are answered the same however they are cut into segments', async () => {
      const fixture = await start(async (request, response) => {
        if (request.url.startsWith('/v2/unread/')) answer(response, 400, 'unread');
        else await describeRequest(request, response);
      });
      const conversation = fc.array(one, { minLength: 1, maxLength: 8 });
      const cuts = fc.array(fc.nat(), { maxLength: 12 });
      const property = fc.asyncProperty(conversation, cuts, fc.nat(2), async (asked, at, turns) => {
        const client = fixture.connect();
        const all = asked.map(said);
        const bytes = Buffer.concat(all.map((part) => part.bytes));
        const places = [...at.map((place) => place % bytes.length), bytes.length].sort((a, b) => a - b);
        let sent = 0;
        for (const place of places) {
          if (place > sent) await client.write(bytes.subarray(sent, place));
          sent = place;
          for (let count = 0; count < turns; count += 1) await turn();
        }
        await eventually(() => client.answers().length === all.length, 5000, 1);
        expect(bodies(client)).toEqual(all.map(({ text }) => text));
        client.socket.end();
        await client.ended;
        expect(client.error).toBeUndefined();
      });
      await fc.assert(property, { numRuns: transport === 'plain' ? 150 : 60 });
    });
  });

  describe('a request that is not plain after one that is', () => {
    const body = randomBytes(200_000);
    const put = `PUT /v2/b HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n`;
    const NOT_PLAIN = [
      ['a body in chunks', chunkedPut('/v2/b', body)],
      [
        'one that waits to be invited',
        Buffer.concat([Buffer.from(`${put}Expect: 100-continue\r\n\r\n`), body]),
      ],
      ['the last one', Buffer.concat([Buffer.from(`${put}Connection: close\r\n\r\n`), body])],
      ['HTTP/1.0', Buffer.concat([Buffer.from(`${put.replace('1.1', '1.0')}\r\n`), body])],
      ['a header twice', Buffer.concat([Buffer.from(`${put}Accept: a\r\nAccept: b\r\n\r\n`), body])],
    ] as const;

    it.each(NOT_PLAIN)('%s: its body comes whole, and so does what follows', async (what, bytes) => {
      const client = (await start()).connect();
      await client.write(requestOf('GET /v2/a'));
      await eventually(() => client.answers().length === 1);
      await client.write(bytes);
      await eventually(() => client.answers().length === 2);
      expect(bodies(client)[1]).toBe(described('PUT', '/v2/b', body));
      if (/last|1\.0/.test(what)) {
        await eventually(() => client.finished);
        return;
      }
      await client.write(requestOf('GET /v2/c'));
      await eventually(() => client.answers().length === 3);
    });

    it.each(NOT_PLAIN)('%s: also when it was read with the one before', async (_what, bytes) => {
      const client = (await start()).connect();
      await client.write(Buffer.concat([requestOf('GET /v2/a'), requestOf('PUT /v2/a', body), bytes]));
      await eventually(() => client.answers().length === 3);
      expect(bodies(client)[1]).toBe(described('PUT', '/v2/a', body));
      expect(bodies(client)[2]).toBe(described('PUT', '/v2/b', body));
    });

    it('a head of which the end comes later, when its beginning came with the request before', async () => {
      const client = (await start()).connect();
      await client.write(Buffer.concat([requestOf('GET /v2/a'), Buffer.from('GET /v2/b HTTP/1.1\r\nHo')]));
      await eventually(() => client.answers().length === 1);
      await new Promise((resolve) => setTimeout(resolve, 20));
      await client.write('st: x\r\n\r\n');
      await eventually(() => client.answers().length === 2);
      expect(bodies(client)[1]).toBe(described('GET', '/v2/b', Buffer.alloc(0)));
    });

    it.each([10_000, 200_000, 900_000])(
      'of %i bytes, all of which came while the one before ran',
      async (size) => {
        const gate = Promise.withResolvers<undefined>();
        const fixture = await start(async (request, response) => {
          if (request.url === '/v2/slow') await gate.promise;
          await describeRequest(request, response);
        });
        const client = fixture.connect();
        const large = randomBytes(size);
        await client.write(requestOf('GET /v2/slow'));
        const sent = client.write(Buffer.concat([chunkedPut('/v2/b', large), requestOf('GET /v2/c')]));
        await new Promise((resolve) => setTimeout(resolve, 50));
        gate.resolve(undefined);
        await sent;
        await eventually(() => client.answers().length === 3);
        expect(bodies(client)[1]).toBe(described('PUT', '/v2/b', large));
        expect(bodies(client)[2]).toBe(described('GET', '/v2/c', Buffer.alloc(0)));
      },
    );

    it('a refused one is refused, with nothing lost before it', async () => {
      const client = (await start()).connect();
      await client.write(Buffer.concat([requestOf('GET /v2/a'), Buffer.from('GET /v2/ HTTP/1.1\r\n\r\n')]));
      await client.ended;
      expect(String(client.received).match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 400']);
    });

    it('thousands that came while one ran are all answered, wherever a head is cut', async () => {
      const gate = Promise.withResolvers<undefined>();
      let came = 0;
      const fixture = await start(async (request, response) => {
        if (request.url === '/v2/slow') await gate.promise;
        came += 1;
        answer(response, 200, request.url);
      });
      const client = fixture.connect();
      await client.write(requestOf('GET /v2/slow'));
      const urls = Array.from({ length: 8000 }, (_none, index) => `/v2/${index}`);
      const sent = client.write(
        Buffer.concat(urls.map((url) => requestOf(`GET ${url}`, '', [`A: ${'a'.repeat(200)}`]))),
      );
      await new Promise((resolve) => setTimeout(resolve, 50));
      gate.resolve(undefined);
      await sent;
      await eventually(() => came === 8001);
      await eventually(() => client.answers().length === 8001);
      expect(bodies(client).slice(1)).toEqual(urls);
    });

    it('a client that is read slowly is not read ahead of', async () => {
      const gate = Promise.withResolvers<undefined>();
      let came = 0;
      const fixture = await start(async (request, response) => {
        if (request.url === '/v2/slow') await gate.promise;
        came += 1;
        await describeRequest(request, response);
      });
      const client = fixture.connect();
      await client.write(requestOf('GET /v2/slow'));
      const many = Buffer.concat(Array.from({ length: 200_000 }, () => requestOf('GET /v2/x')));
      client.socket.write(many);
      await turn();
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect([came, client.socket.writableLength > 0]).toEqual([0, true]);
      gate.resolve(undefined);
      await eventually(() => came > 100);
    });
  });

  describe('a body that nobody reads', () => {
    it.each([10, 100_000, 900_000])('of %i bytes is dropped, and the connection goes on', async (size) => {
      const fixture = await start(async (request, response) => {
        if (request.method === 'PUT') answer(response, 401, 'no');
        else await describeRequest(request, response);
      });
      const client = fixture.connect();
      await client.write(Buffer.concat([requestOf('PUT /v2/a', randomBytes(size)), requestOf('GET /v2/b')]));
      await eventually(() => client.answers().length === 2);
      expect(bodies(client)).toEqual(['no', described('GET', '/v2/b', Buffer.alloc(0))]);
    });

    it.each([
      ['at once', () => Promise.resolve()],
      ['later', () => new Promise<void>((resolve) => setTimeout(resolve, 50))],
      ['after some of it', (request: HttpRequest) => request.body().fill(Buffer.alloc(10_000))],
    ])('of 30 MiB ends the connection after the whole answer: refused %s', async (_when, before) => {
      const text = Buffer.alloc(300_000, 'a');
      const fixture = await start(async (request, response) => {
        const waited = before(request);
        if (_when !== 'at once') await waited;
        answer(response, 413, text);
      });
      const client = fixture.connect();
      // It reads nothing before it has sent everything.
      client.socket.pause();
      const started = performance.now();
      await client.write(requestOf('PUT /v2/a', Buffer.alloc(30 * MIB)));
      client.socket.resume();
      await eventually(() => client.finished);
      expect(client.error).toBeUndefined();
      expect(client.answers().map(({ status, body }) => [status, body.length])).toEqual([[413, text.length]]);
      client.socket.end();
      await client.ended;
      expect(performance.now() - started).toBeLessThan(4000);
    });

    it('of a client that never ends does not hold the connection', async () => {
      const fixture = await start(async (_request, response) => answer(response, 413, 'no'));
      const client = fixture.connect();
      await client.write('PUT /v2/a HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n');
      const dripping = setInterval(() => client.socket.write('x'), 100);
      try {
        await client.ended;
        expect(client.answers()).toHaveLength(1);
      } finally {
        clearInterval(dripping);
      }
    });
  });

  describe('a client that goes', () => {
    it.each(['end', 'destroy'] as const)('in the middle of a body: %s is told to its reader', async (how) => {
      const failed = Promise.withResolvers<unknown>();
      const closed = Promise.withResolvers<undefined>();
      let came = 0;
      const fixture = await start(async (request, response) => {
        response.once('close', () => closed.resolve(undefined));
        const body = request.body();
        try {
          for (;;) came += await body.fill(Buffer.alloc(7000));
        } catch (error) {
          failed.resolve(error);
        }
      });
      const client = fixture.connect();
      await client.write('PUT /v2/a HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n');
      await client.write(Buffer.alloc(40_000));
      await eventually(() => came >= 35_000);
      client.socket[how]();
      expect(await failed.promise).toMatchObject({ code: 'ECONNRESET' });
      expect(came).toBe(40_000);
      await closed.promise;
    });

    it('in the middle of an answer: its writer is told', async () => {
      const closed = Promise.withResolvers<boolean>();
      const failed = Promise.withResolvers<unknown>();
      const fixture = await start(async (_request, response) => {
        response.once('close', () => closed.resolve(response.destroyed));
        response.writeHead(200, { 'content-length': 1024 * MIB });
        for (;;) {
          const error = await new Promise((resolve) => response.write(Buffer.alloc(MIB), resolve));
          if (error !== undefined && error !== null) {
            failed.resolve(error);
            return;
          }
        }
      });
      const client = fixture.connect();
      await client.write(requestOf('GET /v2/a'));
      await eventually(() => client.received.length > MIB);
      client.socket.destroy();
      expect(await closed.promise).toBe(true);
      expect(await failed.promise).toBeInstanceOf(Error);
    });

    it('while nothing is read from it: the next write finds out', async () => {
      const closed = Promise.withResolvers<undefined>();
      const gate = Promise.withResolvers<undefined>();
      const arrived = Promise.withResolvers<undefined>();
      const fixture = await start(async (_request, response) => {
        response.once('close', () => closed.resolve(undefined));
        arrived.resolve(undefined);
        await gate.promise;
        if (!response.destroyed) answer(response, 200, Buffer.alloc(MIB));
      });
      const client = fixture.connect();
      await client.write(Buffer.concat([requestOf('GET /v2/a'), requestOf('GET /v2/b')]));
      await arrived.promise;
      client.socket.destroy();
      await client.ended;
      gate.resolve(undefined);
      await closed.promise;
    });
  });

  it('an answer waits for a client that reads slowly, and holds little of it', async () => {
    const size = 64 * MIB;
    let written = 0;
    const fixture = await start(async (_request, response) => {
      response.writeHead(200, { 'content-length': size });
      const piece = Buffer.alloc(64 * 1024, 'z');
      while (written < size) {
        await new Promise((resolve) => response.write(piece, resolve));
        written += piece.length;
      }
      response.end();
    });
    const client = fixture.connect();
    client.socket.pause();
    await client.write(requestOf('GET /v2/a'));
    let before = -1;
    await eventually(
      () => {
        const still = written > 0 && written === before;
        before = written;
        return still;
      },
      10_000,
      100,
    );
    // What the kernel takes on loopback.
    expect(written).toBeLessThan(20 * MIB);
    let [received, wrong] = [0, 0];
    client.socket.removeAllListeners('data');
    client.socket.on('data', (piece: Buffer) => {
      received += piece.length;
      if (received > MIB && piece.some((byte) => byte !== 0x7a)) wrong += 1;
    });
    client.socket.resume();
    await eventually(() => received > size);
    expect(wrong).toBe(0);
  });

  describe('silence', () => {
    it('before the first byte ends a connection', async () => {
      const client = (await start(undefined, { headersMs: 150 })).connect();
      await client.ended;
      expect(client.received.length).toBe(0);
    });

    it('within a head ends it, with an answer', async () => {
      const client = (await start(undefined, { headersMs: 150 })).connect();
      await client.write('GET /v2/ HTTP/1.1\r\nHo');
      await eventually(() => client.finished);
      expect(client.answers().map(({ status }) => status)).toEqual([408]);
    });

    it('a head whose bytes come one by one does not last longer', async () => {
      const client = (await start(undefined, { headersMs: 300 })).connect();
      const dripping = setInterval(() => client.socket.write('GET /v2/'), 20);
      try {
        await eventually(() => client.finished);
      } finally {
        clearInterval(dripping);
      }
    });

    it('after a request, and in the middle of a body, ends it', async () => {
      const fixture = await start(
        async (request, response) => {
          await describeRequest(request, response).catch(() => undefined);
        },
        { idleMs: 150 },
      );
      const [idle, middle] = [fixture.connect(), fixture.connect()];
      await idle.write(requestOf('GET /v2/a'));
      await middle.write('PUT /v2/a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc');
      await Promise.all([idle.ended, middle.ended]);
      expect([idle.answers().length, middle.answers().length]).toEqual([1, 0]);
    });

    it('a connection that is used stays', async () => {
      const client = (await start(undefined, { headersMs: 300, idleMs: 300 })).connect();
      for (let count = 1; count <= 6; count += 1) {
        await client.write(requestOf('GET /v2/a'));
        await eventually(() => client.answers().length === count);
        await new Promise((resolve) => setTimeout(resolve, 120));
      }
      expect(client.finished).toBe(false);
    });
  });

  describe('many', () => {
    it('connections are taken up to a bound', async () => {
      const fixture = await start(undefined, { maxConnections: 3 });
      const kept = [fixture.connect(), fixture.connect(), fixture.connect()];
      // A place is taken whoever reads the connection.
      await kept[0]?.write(requestOf('GET /v2/a'));
      await kept[1]?.write(requestOf('GET /metrics'));
      await kept[2]?.write(requestOf('GET /v2/a'));
      await eventually(() => kept.every((client) => client.answers().length === 1));
      const refused = fixture.connect();
      await refused.ended;
      expect(refused.answers()).toEqual([]);
      kept[0]?.socket.destroy();
      kept[1]?.socket.destroy();
      await eventually(async () => {
        const client = fixture.connect();
        await client.write(requestOf('GET /v2/b')).catch(() => undefined);
        return await eventually(() => client.answers().length === 1, 200);
      });
    });

    it('requests on one connection leave nothing behind on its socket', async () => {
      const counts: string[] = [];
      const fixture = await start(async (request, response) => {
        const { socket } = request;
        counts.push(
          JSON.stringify(socket.eventNames().map((name) => [String(name), socket.listenerCount(name)])),
        );
        await describeRequest(request, response);
      });
      const client = fixture.connect();
      const request = Buffer.concat([requestOf('PUT /v2/a', 'abc'), requestOf('GET /v2/a')]);
      for (let count = 100; count <= 1000; count += 100) {
        await client.write(Buffer.concat(Array.from({ length: 50 }, () => request)));
        await eventually(() => client.answers().length === count, 5000, 1);
      }
      expect([...new Set(counts.slice(10))]).toEqual([counts[10]]);
    });
  });

  describe('the end of the front', () => {
    async function timed(fixture: FrontFixture): Promise<number> {
      const started = performance.now();
      await fixture.front.close(() => undefined);
      return performance.now() - started;
    }

    it('ends idle connections at once, whoever reads them', async () => {
      const fixture = await start();
      const clients = Array.from({ length: 4 }, () => fixture.connect());
      const [, idle, handedOver, ended] = clients;
      await idle?.write(requestOf('GET /v2/a'));
      await handedOver?.write(requestOf('GET /metrics'));
      await ended?.write(Buffer.concat([requestOf('GET /v2/a'), requestOf('GET /metrics')]));
      await eventually(() => idle?.answers().length === 1 && handedOver?.answers().length === 1);
      await eventually(() => ended?.answers().length === 2 && !clients[0]?.socket.connecting);
      expect(await timed(fixture)).toBeLessThan(1000);
      await Promise.all(clients.map((client) => client.ended));
    });

    it.each([
      ['plain', '/v2/a', false],
      ['handed over', '/metrics', false],
      ['plain, its head sent', '/v2/a', true],
      ['handed over, its head sent', '/metrics', true],
    ])('finishes an answer: %s', async (_what, path, begun) => {
      const gate = Promise.withResolvers<undefined>();
      const fixture = await start(async (_request, response) => {
        if (begun) {
          response.writeHead(200, { 'content-length': 6 });
          response.write('abc');
        }
        await gate.promise;
        if (begun) response.end('def');
        else answer(response, 200, 'abcdef');
      });
      const client = fixture.connect();
      const arrived = eventually(() => !begun || client.received.includes('abc'));
      await client.write(requestOf(`GET ${path}`));
      await arrived;
      await new Promise((resolve) => setTimeout(resolve, 50));
      const closing = timed(fixture);
      await new Promise((resolve) => setTimeout(resolve, 50));
      gate.resolve(undefined);
      expect(await closing).toBeLessThan(2000);
      await eventually(() => client.finished);
      expect(bodies(client)).toEqual(['abcdef']);
    });

    it('waits for what never ends for 5 seconds, and for its request to notice', async () => {
      const stopped = Promise.withResolvers<undefined>();
      let over = false;
      const fixture = await start(async () => {
        await stopped.promise;
        over = true;
      });
      const client = fixture.connect();
      await client.write(requestOf('GET /v2/a'));
      await new Promise((resolve) => setTimeout(resolve, 50));
      const started = performance.now();
      await fixture.front.close(() => stopped.resolve(undefined));
      expect([over, performance.now() - started < 7000]).toEqual([true, true]);
    });

    it('is not held up by a client that says nothing, not even what its handshake needs', async () => {
      const fixture = await start();
      const silent = connect(fixture.address.port, '127.0.0.1');
      silent.on('error', () => undefined);
      await new Promise((resolve) => silent.on('connect', resolve));
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect(await timed(fixture)).toBeLessThan(7000);
      silent.destroy();
    });
  });
});

/** Over TLS an end is one of both directions, as with every server of Node. */
describe('over plain connections alone', () => {
  it.each([
    ['at once', 0],
    ['later', 100],
  ])('a client that is silent after its request still gets its answer %s', async (_when, ms) => {
    const fixture = await startFront('plain', async (request, response) => {
      const body = await readAll(request.body());
      await new Promise((resolve) => setTimeout(resolve, ms));
      answer(response, 200, described(request.method, request.url, body));
    });
    const client = fixture.connect();
    client.socket.end(Buffer.concat([requestOf('PUT /v2/a', 'abc'), requestOf('GET /v2/b')]));
    await client.ended;
    expect(bodies(client).map((text) => text.slice(0, 11))).toEqual(['PUT /v2/a 3', 'GET /v2/b 0']);
    expect(client.error).toBeUndefined();
  });

  it('idle connections cost little', async () => {
    const fixture = await startFront('plain');
    const used = (): number => {
      const { heapUsed, external } = process.memoryUsage();
      return heapUsed + external;
    };
    const request = requestOf('GET /v2/a', '', [`Authorization: ${'a'.repeat(1000)}`]);
    const open = async (count: number): Promise<void> => {
      const clients = Array.from({ length: count }, () => fixture.connect());
      await Promise.all(clients.map((client) => client.write(request)));
      await eventually(() => clients.every((client) => client.received.length > 0));
    };
    await open(100);
    const before = used();
    await open(2000);
    // The clients in this process are counted with it: a buffer of 64 KiB for each would be 128 MiB.
    expect((used() - before) / 2000).toBeLessThan(40_000);
  });
});
