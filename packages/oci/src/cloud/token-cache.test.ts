import { silentLogger } from '@mural/core';
import { FakeClock } from '@mural/core/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Credential } from '../credentials.ts';
import { OciError } from '../errors.ts';
import { TokenCache, type FetchedToken } from './token-cache.ts';

const HOUR = 3_600_000;
const LIFE = 12 * HOUR;

const unhandled: unknown[] = [];
const note = (reason: unknown): void => {
  unhandled.push(reason);
};
beforeAll(() => void process.on('unhandledRejection', note));
afterAll(() => void process.off('unhandledRejection', note));

class Source {
  readonly clock = new FakeClock();
  calls = 0;
  running = 0;
  atOnce = 0;
  failing: Error | undefined;
  life = LIFE;
  /** How long a fetch takes. */
  takes = 0;
  readonly cache: TokenCache;

  constructor(random: () => number = () => 0.5) {
    const fetch = async (signal: AbortSignal): Promise<FetchedToken> => this.#fetch(signal);
    this.cache = new TokenCache({
      what: 'the token',
      fetch,
      clock: this.clock,
      random,
      log: silentLogger,
    });
  }

  async #fetch(signal: AbortSignal): Promise<FetchedToken> {
    this.calls += 1;
    const password = `token-${this.calls}`;
    this.running += 1;
    this.atOnce = Math.max(this.atOnce, this.running);
    try {
      if (this.takes > 0) await this.clock.sleep(this.takes, signal);
      if (this.failing !== undefined) throw this.failing;
      return { credential: { username: 'AWS', password }, expiresAt: this.clock.now() + this.life };
    } finally {
      this.running -= 1;
    }
  }

  async password(rejected?: Credential): Promise<string> {
    return (await this.cache.get(rejected)).password;
  }
}

const down = new OciError('Unreachable', 'the API is away', { retryable: true });

describe('TokenCache', () => {
  it('fetches once for a thousand who ask at once', async () => {
    const source = new Source();
    source.takes = 1000;
    const all = Promise.all(Array.from({ length: 1000 }, async () => source.password()));
    await source.clock.advance(1000);
    expect(new Set(await all)).toEqual(new Set(['token-1']));
    expect(source.calls).toBe(1);
  });

  it.each([
    [0, 0.45],
    [0.999, 0.55],
  ])('refreshes behind the caller at half of the life, spread by a tenth (%s)', async (random, part) => {
    const source = new Source(() => random);
    await source.password();
    await source.clock.advance(LIFE * part - 60_000);
    expect(await source.password()).toBe('token-1');
    await source.clock.advance(120_000);
    expect(source.calls).toBe(1);
    expect(await source.password()).toBe('token-1');
    await source.clock.advance(0);
    expect(await source.password()).toBe('token-2');
    expect(source.calls).toBe(2);
  });

  it('asks no more than twice in a half-life, over days of use', async () => {
    const source = new Source(Math.random);
    for (let minute = 0; minute < 3 * 24 * 60; minute += 5) {
      await source.password();
      await source.clock.advance(5 * 60_000);
    }
    expect(source.calls).toBeLessThanOrEqual(2 * ((3 * 24 * HOUR) / (LIFE / 2)));
    expect(source.calls).toBeGreaterThanOrEqual(10);
    expect(source.atOnce).toBe(1);
  }, 20_000);

  it('gives what it has until that expires while the refresh fails, and asks less and less often', async () => {
    const source = new Source();
    await source.password();
    await source.clock.advance(LIFE * 0.6);
    source.failing = down;
    for (let second = 0; second < 600; second += 1) {
      expect(await source.password()).toBe('token-1');
      await source.clock.advance(1000);
    }
    expect(source.calls).toBeLessThan(25);
    await source.clock.advance(LIFE * 0.4 - 601_000);
    expect(await source.password()).toBe('token-1');
    await source.clock.advance(60_000);
    await expect(source.password()).rejects.toBe(down);
    const { calls } = source;
    for (let ask = 0; ask < 1000; ask += 1) await expect(source.password()).rejects.toBe(down);
    expect(source.calls).toBe(calls);
    source.failing = undefined;
    await source.clock.advance(60_000);
    expect(await source.password()).toMatch(/^token-/);
  });

  it('fetches exactly one new token for all whose token was refused', async () => {
    const source = new Source();
    const refused = await source.cache.get();
    source.takes = 1000;
    const all = Promise.all(Array.from({ length: 1000 }, async () => source.password(refused)));
    await source.clock.advance(1000);
    expect(new Set(await all)).toEqual(new Set(['token-2']));
    expect(await source.password(refused)).toBe('token-2');
    expect(source.calls).toBe(2);
  });

  it('does not run after a registry that refuses every token', async () => {
    const source = new Source();
    for (let minute = 0; minute < 24 * 60; minute += 1) {
      const held = await source.cache.get();
      await source.cache.get(held);
      await source.clock.advance(60_000);
    }
    expect(source.calls).toBeLessThan(20);
  });

  it('gives others what it has when the fetch after a refusal fails', async () => {
    const source = new Source();
    const refused = await source.cache.get();
    source.failing = down;
    await expect(source.password(refused)).rejects.toBe(down);
    expect(await source.password()).toBe('token-1');
  });

  it('gives up on a fetch that does not end', async () => {
    const source = new Source();
    source.takes = HOUR;
    const asked = source.password().catch((error: unknown) => error);
    await source.clock.advance(30_000);
    expect(await asked).toMatchObject({ code: 'TimedOut', retryable: true });
  });

  it('refuses a token that has expired when it comes', async () => {
    const source = new Source();
    source.life = -1;
    await expect(source.password()).rejects.toMatchObject({
      code: 'AuthenticationFailed',
      hint: 'Check the clock of this machine.',
    });
  });

  it('leaves no rejection unhandled', async () => {
    await new Promise((resolve) => setImmediate(resolve));
    expect(unhandled).toEqual([]);
  });
});
