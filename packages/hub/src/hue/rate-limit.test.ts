import { FakeClock, settle } from '@mural/core/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RateLimit } from './rate-limit.ts';

describe('a limit of calls', () => {
  it('lets no second see more than the rate and one, in the order in which calls came', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 40 }),
        async (gaps) => {
          const clock = new FakeClock();
          const limit = new RateLimit(8, clock);
          const taken: { readonly index: number; readonly at: number }[] = [];
          const calls: Promise<void>[] = [];
          for (const [index, gap] of gaps.entries()) {
            await clock.advance(gap);
            calls.push(limit.take().then(() => void taken.push({ index, at: clock.now() })));
          }
          await clock.advance(gaps.length * 125);
          await Promise.all(calls);
          expect(taken.map(({ index }) => index)).toEqual(gaps.map((_, index) => index));
          for (const { at } of taken) {
            const second = taken.filter((other) => other.at >= at && other.at < at + 1000);
            expect(second.length).toBeLessThanOrEqual(9);
          }
        },
      ),
      { numRuns: 20 },
    );
  });

  it('does not limit unless told, and lets go of who does not wait any longer', async () => {
    const clock = new FakeClock();
    const free = new RateLimit(undefined, clock);
    await Promise.all(Array.from({ length: 100 }, async () => free.take()));
    const limit = new RateLimit(1, clock);
    await limit.take();
    const abort = new AbortController();
    const waiting = limit.take(abort.signal);
    await settle();
    abort.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
  });
});
