import { describe, expect, it } from 'vitest';
import { mapLimit } from './map-limit.ts';

describe('mapLimit', () => {
  it('gives results in the order of the items, a few at a time', async () => {
    let running = 0;
    let most = 0;
    const results = await mapLimit([5, 1, 4, 2, 3], 2, async (item) => {
      running += 1;
      most = Math.max(most, running);
      for (let turn = 0; turn < item; turn += 1) await Promise.resolve();
      running -= 1;
      return item * 10;
    });
    expect(results).toEqual([50, 10, 40, 20, 30]);
    expect(most).toBe(2);
  });

  it('begins nothing after a failure, and throws it when what runs has ended', async () => {
    const begun: number[] = [];
    const slow = Promise.withResolvers<undefined>();
    let slowEnded = false;
    const all = mapLimit([1, 2, 3, 4], 2, async (item) => {
      begun.push(item);
      if (item === 2) throw new Error('two');
      await slow.promise;
      slowEnded = true;
    });
    slow.resolve(undefined);
    await expect(all).rejects.toThrow('two');
    expect(begun).toEqual([1, 2]);
    expect(slowEnded).toBe(true);
  });
});
