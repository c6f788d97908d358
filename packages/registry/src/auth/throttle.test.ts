import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger, silentLogger } from '@mural/core';
import { FakeClock } from '@mural/core/testing';
import { hashSync } from 'bcryptjs';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { errorCode, RegistryFixture } from '../fixture.ts';
import { Access } from './access.ts';
import { BcryptVerifier } from './bcrypt.ts';
import { basic, requestWith } from './fixture-auth.ts';
import { LoginThrottle, sourceOf } from './throttle.ts';

describe('LoginThrottle', () => {
  let clock: FakeClock;
  let throttle: LoginThrottle;
  beforeEach(() => {
    clock = new FakeClock();
    throttle = new LoginThrottle(clock);
  });
  let guesses = 0;
  const attempt = (account: string, source: string, outcome: boolean, credential?: string): void => {
    guesses += 1;
    throttle.began(account, source);
    throttle.ended(account, source, outcome, credential ?? `guess ${guesses}`);
  };
  const fail = (times: number, account = 'ann', source = '192.0.2.1'): void => {
    for (let i = 0; i < times; i += 1) attempt(account, source, false);
  };

  it('lets a few mistakes go, then doubles the wait up to a minute', () => {
    fail(4);
    expect(throttle.wait('ann', '192.0.2.1')).toBe(0);
    const waits = Array.from({ length: 9 }, () => {
      fail(1);
      return throttle.wait('ann', '192.0.2.1');
    });
    expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
  });

  it('says how long is left, and forgets after a while', async () => {
    fail(6);
    await clock.advance(1500);
    expect(throttle.wait('ann', '192.0.2.1')).toBe(500);
    await clock.advance(16 * 60_000);
    fail(1);
    expect(throttle.wait('ann', '192.0.2.1')).toBe(0);
  });

  it('never keeps the owner at another address waiting for more than seconds', () => {
    for (let i = 0; i < 1000; i += 1) attempt('ann', `192.0.2.${i % 250}`, false);
    expect(throttle.wait('ann', '198.51.100.1')).toBeLessThanOrEqual(4000);
  });

  it('does not touch an owner who signed in from there before', () => {
    attempt('ann', '198.51.100.1', true);
    for (let i = 0; i < 1000; i += 1) attempt('ann', `192.0.2.${i % 250}`, false);
    fail(100, 'somebody', '198.51.100.1');
    expect(throttle.wait('ann', '198.51.100.1')).toBe(0);
    expect(throttle.wait('bob', '198.51.100.1')).toBeGreaterThan(0);
  });

  it('counts guesses at the same time before their outcome is known', () => {
    for (let i = 0; i < 6; i += 1) throttle.began('ann', '192.0.2.1');
    expect(throttle.wait('ann', '192.0.2.1')).toBeGreaterThan(0);
    expect(throttle.wait('ann', '192.0.2.2')).toBe(0);
    for (let i = 0; i < 6; i += 1) throttle.ended('ann', '192.0.2.1', undefined, 'x');
    expect(throttle.wait('ann', '192.0.2.1')).toBe(0);
  });

  it('counts a password that a client goes on with once', () => {
    for (let i = 0; i < 100; i += 1) attempt('ann', '192.0.2.1', false, 'old password');
    expect(throttle.wait('ann', '192.0.2.1')).toBe(0);
    fail(5);
    expect(throttle.wait('ann', '192.0.2.1')).toBeGreaterThan(0);
  });

  it('does not count against an account what an address tried on others', () => {
    for (let i = 0; i < 30; i += 1) attempt(`user-${i}`, '192.0.2.1', false);
    expect(throttle.wait('ann', '192.0.2.1')).toBeGreaterThan(0);
    expect(throttle.wait('ann', '192.0.2.2')).toBe(0);
  });

  it('keeps a bounded number of entries, however many names and addresses come', () => {
    for (let i = 0; i < 60_000; i += 1)
      attempt(`u${i}`.repeat(20), `2001:db8:${i.toString(16)}::/64`, i % 2 === 0);
    expect(throttle.size).toBeLessThanOrEqual(50_000);
  });
});

describe('sourceOf', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::9', '2001:db8:1:2::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    [undefined, 'unknown'],
  ])('%s is %s', (address, source) => {
    expect(sourceOf(address)).toBe(source);
  });

  it('takes the first half of any IPv6 address, however it is written', () => {
    const group = fc.integer({ min: 1, max: 0xffff }).map((value) => value.toString(16));
    const half = fc.array(group, { minLength: 4, maxLength: 4 }).map((groups) => groups.join(':'));
    fc.assert(
      fc.property(half, half, (network, host) => {
        expect(sourceOf(`${network}:${host}`)).toBe(`${network}::/64`);
      }),
    );
  });
});

describe('a flood of wrong passwords', () => {
  const hash = hashSync('right', 4);

  it('waits behind the right ones, and behind each other by address', async () => {
    const bcrypt = new BcryptVerifier();
    const order: string[] = [];
    const ask = async (label: string, source: string, known = false): Promise<void> => {
      await bcrypt.matches('right', hash, { source, known }).then(
        () => order.push(label),
        (error: unknown) => order.push(`${label}: ${(error as { code: string }).code}`),
      );
    };
    try {
      const flood = Array.from({ length: 40 }, (_, i) => ask(`flood ${i}`, '192.0.2.1'));
      const single = ask('single', '192.0.2.2');
      const owner = ask('owner', '192.0.2.1', true);
      await Promise.all([...flood, single, owner]);
    } finally {
      await bcrypt.close();
    }
    const served = order.filter((label) => !label.includes(':'));
    // One was with the thread already, and the first in line had its turn.
    expect(served.indexOf('owner')).toBeLessThanOrEqual(1);
    expect(served.indexOf('single')).toBeLessThanOrEqual(3);
    expect(order).toContain('flood 39: TooManyRequests');
  });

  it('from many addresses loses its own places to newcomers', async () => {
    const bcrypt = new BcryptVerifier();
    const outcomes: Promise<string>[] = [];
    const ask = async (source: string): Promise<string> => {
      try {
        return String(await bcrypt.matches('right', hash, { source, known: false }));
      } catch (error) {
        return (error as { code: string }).code;
      }
    };
    try {
      for (let i = 0; i < 33 * 5; i += 1) outcomes.push(ask(`192.0.2.${i % 5}`));
      const newcomer = ask('198.51.100.1');
      expect(await newcomer).toBe('true');
      expect(await Promise.all(outcomes)).toContain('TooManyRequests');
    } finally {
      await bcrypt.close();
    }
  });
});

describe('signing in', () => {
  let clock: FakeClock;
  let access: Access;
  let dataDir: string;
  beforeEach(async () => {
    clock = new FakeClock();
    dataDir = await mkdtemp(join(tmpdir(), 'mural-access-'));
    const users = [
      { name: 'ann', passwordHash: hashSync('right', 5), policies: [] },
      { name: 'cheap', passwordHash: hashSync('right', 4), policies: [] },
      { name: 'generated', password: 'right', policies: [] },
    ];
    access = Access.open(dataDir, { users }, clock, silentLogger);
  });
  afterEach(async () => {
    await access.close();
    await rm(dataDir, { recursive: true });
  });

  const signIn = async (name: string, password: string, source?: string): Promise<string> => {
    try {
      const caller = await access.authenticate(requestWith({ authorization: basic(name, password) }, source));
      return caller.name ?? '';
    } catch (error) {
      return (error as { code: string }).code;
    }
  };

  it.each(['ann', 'cheap', 'generated', 'nobody', 'robot+none'])(
    'with a wrong password costs one verification: %s',
    async (name) => {
      expect(await signIn(name, 'wrong')).toBe('Unauthorized');
      expect(access.verifications).toBe(1);
    },
  );

  it('with a wrong password again costs nothing, and does not count again', async () => {
    for (let i = 0; i < 20; i += 1) expect(await signIn('ann', 'wrong')).toBe('Unauthorized');
    expect(access.verifications).toBe(1);
    expect(await signIn('ann', 'right')).toBe('ann');
  });

  it('many at once with the same right password costs one verification', async () => {
    const names = await Promise.all(Array.from({ length: 50 }, () => signIn('ann', 'right')));
    expect(new Set(names)).toEqual(new Set(['ann']));
    expect(access.verifications).toBe(1);
  });

  it('with guesses is refused without looking at them, until the wait is over', async () => {
    for (let i = 0; i < 5; i += 1) expect(await signIn('ann', `guess ${i}`)).toBe('Unauthorized');
    const before = access.verifications;
    expect(await signIn('ann', 'right')).toBe('TooManyRequests');
    expect(access.verifications).toBe(before);
    expect(await signIn('ann', 'right', '198.51.100.1')).toBe('ann');
    await clock.advance(1001);
    expect(await signIn('ann', 'right')).toBe('ann');
  });

  it('stays fast for those who are remembered, whatever others try', async () => {
    expect(await signIn('ann', 'right')).toBe('ann');
    for (let i = 0; i < 30; i += 1) await signIn('ann', `guess ${i}`);
    const before = access.verifications;
    expect(await signIn('ann', 'right')).toBe('ann');
    expect(access.verifications).toBe(before);
  });

  it('sees a user who was set a moment after a refusal', async () => {
    expect(await signIn('new', 'right')).toBe('Unauthorized');
    access.setUser({ name: 'new', password: 'right', policies: [] });
    expect(await signIn('new', 'right')).toBe('new');
  });
});

describe('a refused sign-in', () => {
  it('is answered 429 with Retry-After, and logged with name and address and without the password', async () => {
    const lines: Record<string, unknown>[] = [];
    const log = createLogger({
      level: 'trace',
      destination: { write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>) },
    });
    const users = [{ name: 'ann', password: 'right-secret', policies: [] }];
    const fixture = await RegistryFixture.start({ anonymous: 'none', users, log, accessLog: log });
    try {
      for (let i = 0; i < 5; i += 1) {
        expect((await fixture.send('GET', '/v2/', { as: `ann:planted-${i}` })).status).toBe(401);
      }
      const refused = await fixture.send('GET', '/v2/', { as: 'ann:planted-more' });
      expect([refused.status, errorCode(refused)]).toEqual([429, 'TOOMANYREQUESTS']);
      expect(Number(refused.headers['retry-after'])).toBeGreaterThanOrEqual(1);
      const text = JSON.stringify(lines);
      expect(text).not.toContain('planted');
      expect(text).not.toContain(Buffer.from('ann:planted-1').toString('base64').slice(0, 12));
      const logged = lines.filter(({ msg }) => msg === 'a sign-in was refused');
      expect(logged).toHaveLength(5);
      expect(logged[0]).toMatchObject({ level: 'warn', user: 'ann', source: '127.0.0.1' });
    } finally {
      await fixture.stop();
    }
  });
});
