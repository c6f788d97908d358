import { mkdtemp, readdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  backoff,
  canonicalJson,
  createLogger,
  formatDuration,
  jsonEqual,
  maskUserInfo,
  nearest,
  parseDuration,
  redactUrl,
  retry,
  SingleFlight,
  writeFileAtomic,
} from './index.ts';
import { FakeClock } from './testing.ts';

describe('parseDuration', () => {
  it.each([
    ['30s', 30_000],
    ['1h30m', 5_400_000],
    ['1.5s', 1500],
    ['500ms', 500],
    ['0', 0],
  ])('reads %s', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each(['', '5', 'm', '5 m', '-5s', '5mm', 'x5s'])('refuses %j', (text) => {
    expect(() => parseDuration(text)).toThrow(/is not a duration/);
  });

  it('reads what formatDuration writes', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e9 }), (ms) => {
        expect(parseDuration(formatDuration(ms))).toBeCloseTo(ms, 3);
      }),
    );
  });
});

describe('retry', () => {
  it('waits longer each time, within the cap, and returns the first success', async () => {
    const clock = new FakeClock();
    const started = clock.now();
    let calls = 0;
    const done = retry(
      async () => {
        calls += 1;
        if (calls < 4) throw new Error('busy');
        return await Promise.resolve('ok');
      },
      { attempts: 5, baseMs: 100, capMs: 300, clock, random: () => 1, shouldRetry: () => true },
    );
    await clock.advance(10_000);
    await expect(done).resolves.toBe('ok');
    expect(calls).toBe(4);
    expect(clock.now() - started).toBe(10_000);
  });

  it('gives up at once on an error that no repetition mends', async () => {
    let calls = 0;
    const failing = retry(
      async () => {
        calls += 1;
        return await Promise.reject(new Error('denied'));
      },
      { attempts: 5, baseMs: 1, capMs: 1, shouldRetry: () => false },
    );
    await expect(failing).rejects.toThrow('denied');
    expect(calls).toBe(1);
  });

  it('never waits longer than the cap', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1000 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (n, r) => {
          const wait = backoff(n, 750, 900_000, () => r);
          expect(wait).toBeGreaterThan(0);
          expect(wait).toBeLessThanOrEqual(900_000);
        },
      ),
    );
  });
});

describe('canonicalJson', () => {
  it('does not depend on the order of keys', () => {
    expect(canonicalJson({ b: 1, a: { d: 1, c: [{ z: 1, y: 2 }] } })).toBe(
      '{"a":{"c":[{"y":2,"z":1}],"d":1},"b":1}',
    );
  });

  it('agrees with jsonEqual', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
        expect(jsonEqual(a, b)).toBe(canonicalJson(a) === canonicalJson(b));
      }),
    );
  });
});

describe('nearest', () => {
  it.each([
    ['ociregistry', 'ociRegistry'],
    ['serviceaccount', 'serviceAccount'],
    ['endpont', 'endpoint'],
  ])('finds what %s was meant to be', (word, meant) => {
    expect(nearest(word, ['enabled', 'endpoint', 'ociRegistry', 'serviceAccount'])).toBe(meant);
  });

  it('finds nothing for a word like no other', () => {
    expect(nearest('zzz', ['enabled', 'endpoint'])).toBeUndefined();
  });
});

describe('writeFileAtomic', () => {
  it('replaces the file whole and leaves nothing beside it', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'mural-core-'));
    await writeFileAtomic(join(directory, 'a'), 'one');
    await writeFileAtomic(join(directory, 'a'), 'two');
    expect(await readFile(join(directory, 'a'), 'utf8')).toBe('two');
    expect(await readdir(directory)).toEqual(['a']);
  });
});

describe('secrets', () => {
  it('are masked in the log', () => {
    const lines: string[] = [];
    const destination = new Writable({
      write(chunk: Buffer, _encoding, done) {
        lines.push(chunk.toString());
        done();
      },
    });
    createLogger({ destination }).info({ password: 'hunter2', user: { token: 'hunter2' } }, 'signed in');
    expect(lines.join('')).toContain('signed in');
    expect(lines.join('')).not.toContain('hunter2');
  });

  it('are taken out of a URL', () => {
    expect(redactUrl('https://u:p@host:5000/v2/x?token=t#f')).toBe('https://host:5000/v2/x');
  });

  it.each([
    ['oci://u:p@host/x', 'oci://***@host/x'],
    ['u:p@host/x:1@sha256:0', '***@host/x:1@sha256:0'],
    ['oci://host:99999/x@sha256:0', 'oci://host:99999/x@sha256:0'],
    ['no url', 'no url'],
  ])('are masked in %j, valid or not', (written, shown) => {
    expect(maskUserInfo(written)).toBe(shown);
  });
});

describe('SingleFlight', () => {
  it('runs the work once for all who wait', async () => {
    const flights = new SingleFlight<number>();
    let runs = 0;
    const work = async (): Promise<number> => {
      runs += 1;
      return await Promise.resolve(runs);
    };
    expect(await Promise.all([flights.run('a', work), flights.run('a', work)])).toEqual([1, 1]);
    expect(await flights.run('a', work)).toBe(2);
  });
});
