import { FakeClock } from '@mural/core/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RegistryError } from '../errors.ts';
import { Pace } from './pace.ts';
import { PlainBody } from './plain-body.ts';

const patient = (): Pace => new Pace(() => 0);
const nobody = (): void => undefined;

function contentOf(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_none, index) => (index * 31 + (index >> 8)) & 255);
}

/** Lets everything go on that waits for promises only. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/**
 * A connection with the bytes of a body and of what follows it, of which some are brought at a time: into the
 * body's own room where it has one, or in a piece that is overwritten afterwards.
 */
class Connection {
  readonly #bytes: Uint8Array;
  readonly #body: PlainBody;
  readonly #mixed: boolean;
  #at = 0;
  /** Bytes that came after the end of the body. */
  behind = 0;

  constructor(bytes: Uint8Array, body: PlainBody, mixed: boolean) {
    this.#bytes = bytes;
    this.#body = body;
    this.#mixed = mixed;
  }

  get over(): boolean {
    return this.#at === this.#bytes.length;
  }

  bring(size: number, direct: boolean): void {
    const { room } = this.#body;
    if (room !== undefined && (direct || !this.#mixed)) {
      const part = this.#bytes.subarray(this.#at, this.#at + Math.min(size, room.length));
      room.set(part);
      this.#at += part.length;
      this.#body.arrived(part.length);
      return;
    }
    const piece = this.#bytes.slice(this.#at, this.#at + size);
    const taken = this.#body.take(piece);
    this.#at += piece.length;
    this.behind += piece.length - taken;
    piece.fill(0xee);
  }
}

const plan = fc.record({
  length: fc.integer({ min: 0, max: 3000 }),
  behind: fc.integer({ min: 0, max: 50 }),
  targets: fc.array(fc.integer({ min: 1, max: 1500 }), { minLength: 1, maxLength: 8 }),
  pieces: fc.array(fc.record({ size: fc.integer({ min: 1, max: 1200 }), direct: fc.boolean() }), {
    minLength: 1,
    maxLength: 12,
  }),
  /** Whether bytes come before anybody waits for them. */
  early: fc.boolean(),
});

describe('the body of a plain request', () => {
  it('gives the reader exactly its bytes, however they come and are asked for', async () => {
    const property = fc.asyncProperty(plan, fc.scheduler(), async (chosen, scheduler) => {
      const content = contentOf(chosen.length);
      const body = new PlainBody(chosen.length, patient(), nobody);
      const sent = new Uint8Array([...content, ...new Uint8Array(chosen.behind).fill(0xdd)]);
      const connection = new Connection(sent, body, chosen.early);
      const got: number[] = [];
      const settled: { target: Uint8Array; copy: Uint8Array }[] = [];
      const bring = async (): Promise<void> => {
        for (let at = 0; !connection.over; at += 1) {
          await scheduler.schedule(Promise.resolve(), 'bring');
          const { size, direct } = chosen.pieces[at % chosen.pieces.length] ?? { size: 1, direct: true };
          if (chosen.early || body.open || body.left === 0) connection.bring(size, direct);
        }
      };
      const read = async (): Promise<void> => {
        for (let at = 0; ; at += 1) {
          await scheduler.schedule(Promise.resolve(), 'read');
          const size = chosen.targets[at % chosen.targets.length] ?? 1;
          const target = new Uint8Array(size + 2).fill(0xcc);
          const filled = await body.fill(target.subarray(1, size + 1));
          expect([target[0], target[size + 1]]).toEqual([0xcc, 0xcc]);
          settled.push({ target, copy: target.slice() });
          got.push(...target.subarray(1, filled + 1));
          if (filled < size) expect(got.length).toBe(chosen.length);
          if (filled === 0) return;
        }
      };
      await scheduler.waitFor(Promise.all([bring(), read()]));
      expect(got).toEqual([...content]);
      expect(body.left).toBe(0);
      expect(connection.behind).toBe(chosen.behind);
      // What was lent is the reader's own again once it has been told.
      for (const { target, copy } of settled) expect(target).toEqual(copy);
    });
    await fc.assert(property, { numRuns: 300 });
  });

  it('gives what came before it broke, then the failure, again and again', async () => {
    const chosen = fc.record({
      length: fc.integer({ min: 1, max: 200 }),
      came: fc.nat(199),
      size: fc.integer({ min: 1, max: 250 }),
    });
    const property = fc.asyncProperty(chosen, fc.boolean(), async ({ length, came, size }, waits) => {
      const before = Math.min(came, length - 1);
      const body = new PlainBody(length, patient(), nobody);
      const content = contentOf(length);
      const failure = new Error('gone');
      const got: number[] = [];
      if (!waits) {
        body.take(content.subarray(0, before));
        body.break(failure);
      }
      const target = new Uint8Array(size);
      for (let at = 0; ; at += 1) {
        const filling = body.fill(target);
        if (waits && at === 0) {
          body.take(content.subarray(0, before));
          body.break(failure);
        }
        const filled = await filling.catch((error: unknown) => error);
        if (typeof filled !== 'number') {
          expect(filled).toBe(failure);
          break;
        }
        expect(filled).toBeGreaterThan(0);
        got.push(...target.subarray(0, filled));
      }
      expect(got).toEqual([...content.subarray(0, before)]);
      await expect(body.fill(target)).rejects.toBe(failure);
    });
    await fc.assert(property, { numRuns: 200 });
  });

  it('a body that came whole before the connection broke is whole', async () => {
    const body = new PlainBody(3, patient(), nobody);
    body.take(contentOf(3));
    body.break(new Error('gone'));
    const target = new Uint8Array(10);
    expect(await body.fill(target)).toBe(3);
    expect(await body.fill(target)).toBe(0);
  });

  it('the first of two failures is told', async () => {
    const body = new PlainBody(3, patient(), nobody);
    body.break(new Error('first'));
    body.break(new Error('second'));
    await expect(body.fill(new Uint8Array(1))).rejects.toThrow('first');
  });

  it('nothing is read where there is nothing to come', async () => {
    const body = new PlainBody(0, patient(), () => expect.fail('nothing is wanted'));
    expect(await body.fill(new Uint8Array(10))).toBe(0);
    expect(body.take(contentOf(5))).toBe(0);
    expect(body.room).toBeUndefined();
  });

  it('asks for bytes when somebody waits and none have come', async () => {
    let asked = 0;
    const body = new PlainBody(10, patient(), () => (asked += 1));
    body.take(contentOf(4));
    expect(await body.fill(new Uint8Array(4))).toBe(4);
    expect(asked).toBe(0);
    const filling = body.fill(new Uint8Array(6));
    expect([asked, body.open]).toEqual([1, true]);
    body.take(contentOf(6));
    expect([await filling, body.open]).toEqual([6, false]);
  });

  it('is read by one at a time', async () => {
    const body = new PlainBody(2, patient(), nobody);
    const first = body.fill(new Uint8Array(1));
    await expect(body.fill(new Uint8Array(1))).rejects.toThrow('being read already');
    body.take(contentOf(2));
    expect(await first).toBe(1);
    expect(await body.fill(new Uint8Array(5))).toBe(1);
  });

  it('lends no more room than the body has bytes to come', () => {
    const body = new PlainBody(10, patient(), nobody);
    body.take(contentOf(3));
    void body.fill(new Uint8Array(100));
    expect(body.room?.length).toBe(7);
  });

  it('memory that was lent is left alone from the moment on that its reader is told', async () => {
    const body = new PlainBody(100, patient(), nobody);
    const target = new Uint8Array(10);
    const filling = body.fill(target);
    body.take(contentOf(10));
    expect(body.room).toBeUndefined();
    // The promise has not run yet, and more comes in the same turn.
    body.take(new Uint8Array(20).fill(0xaa));
    expect(await filling).toBe(10);
    expect(target).toEqual(contentOf(10));
    body.break(new Error('gone'));
    expect(body.room).toBeUndefined();
  });

  it('what is dropped is counted and not kept', async () => {
    const body = new PlainBody(100, patient(), nobody);
    body.take(contentOf(10));
    body.drop();
    expect(body.open).toBe(true);
    expect(body.take(contentOf(50))).toBe(50);
    expect(body.take(contentOf(50))).toBe(40);
    expect(body.left).toBe(0);
    expect(await body.fill(new Uint8Array(10))).toBe(0);
  });
});

describe('the pace of a body', () => {
  const SECOND = 1000;

  it('one that is too slow gives what came, then says so', async () => {
    const clock = new FakeClock();
    const body = new PlainBody(1_000_000, new Pace(() => clock.now()), nobody);
    const target = new Uint8Array(1_000_000);
    const filling = body.fill(target);
    let settled = 0;
    void filling.then((bytes) => (settled = bytes));
    let came = 0;
    for (; settled === 0 && came < 100; came += 1) {
      await clock.advance(7 * SECOND);
      body.take(contentOf(1));
      await turn();
    }
    // 60 seconds are free.
    expect([came, settled]).toEqual([9, 9]);
    const error: unknown = await body.fill(target).catch((failure: unknown) => failure);
    expect(error).toBeInstanceOf(RegistryError);
    expect(error).toMatchObject({ code: 'RequestTooSlow' });
  });

  it('time that nobody waits for it does not count, nor does a rate of 1 KiB a second', async () => {
    const clock = new FakeClock();
    const body = new PlainBody(1_000_000, new Pace(() => clock.now()), nobody);
    const target = new Uint8Array(10_240);
    for (let second = 0; second < 200; second += 10) {
      const filling = body.fill(target);
      await clock.advance(10 * SECOND);
      body.room?.set(contentOf(10_240));
      body.arrived(10_240);
      expect(await filling).toBe(10_240);
      await clock.advance(3600 * SECOND);
    }
  });
});

describe('a body in chunks', () => {
  const frame = (chunks: readonly Uint8Array[]): Buffer =>
    Buffer.concat([
      ...chunks.flatMap((chunk) => [
        Buffer.from(`${chunk.length.toString(16)}\r\n`),
        chunk,
        Buffer.from('\r\n'),
      ]),
      Buffer.from('0\r\n\r\n'),
    ]);

  it('is read whole, however it is cut and asked for, and nothing of what follows', async () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 900 }), { maxLength: 6 });
    const cuts = fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 6 });
    const property = fc.asyncProperty(sizes, cuts, cuts, async (chunks, pieces, targets) => {
      const content = contentOf(chunks.reduce((sum, size) => sum + size, 0));
      let start = 0;
      const framed = frame(chunks.map((size) => content.subarray(start, (start += size))));
      const bytes = Buffer.concat([framed, Buffer.from('GET / HTTP/1.1')]);
      const body = new PlainBody('chunks', patient(), nobody);
      let behind = 0;
      let at = 0;
      const bring = (turnOf: number): void => {
        const piece = Uint8Array.prototype.slice.call(bytes, at, at + (pieces[turnOf % pieces.length] ?? 1));
        at += piece.length;
        behind += body.left === 0 ? piece.length : piece.length - body.take(piece);
        piece.fill(0xee);
      };
      const read: Uint8Array[] = [];
      for (let count = 0; ; count += 1) {
        const target = new Uint8Array(targets[count % targets.length] ?? 1);
        const filling = body.fill(target);
        for (let more = 0; body.open && at < bytes.length; more += 1) bring(count + more);
        const filled = await filling;
        if (filled === 0) break;
        read.push(target.subarray(0, filled));
      }
      while (at < bytes.length) bring(0);
      expect(Buffer.concat(read).equals(content)).toBe(true);
      expect([body.left, behind]).toEqual([0, 'GET / HTTP/1.1'.length]);
    });
    await fc.assert(property, { numRuns: 300 });
  });

  it('that goes wrong gives what came before, then says so, and takes nothing for another request', async () => {
    const body = new PlainBody('chunks', patient(), nobody);
    const bytes = Buffer.from('3\r\nabc\r\n2\r\ndefGET / HTTP/1.1\r\n\r\n');
    const target = new Uint8Array(10);
    const filling = body.fill(target);
    expect(body.take(bytes)).toBe(bytes.length);
    expect(Buffer.from(target.subarray(0, await filling)).toString()).toBe('abcde');
    await expect(body.fill(target)).rejects.toMatchObject({ code: 'BodyInvalid' });
    expect([body.left, body.open]).toEqual([Infinity, false]);
  });
});
