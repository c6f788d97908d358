import { readFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createLogger } from '@mural/core';
import { FakeClock } from '@mural/core/testing';
import { hashSync } from 'bcryptjs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RegistryFixture } from '../fixture.ts';
import { openRobots, type RobotSettings } from './robots.ts';

const HOUR = 3_600_000;
const PULLER: RobotSettings = {
  name: 'edge-7',
  policies: [{ repositories: 'team/**', actions: ['read'] }],
};

describe('robot accounts', () => {
  let fixture: RegistryFixture;
  let clock: FakeClock;
  const lines: string[] = [];
  const log = createLogger({ level: 'trace', destination: { write: (line) => void lines.push(line) } });
  beforeEach(async () => {
    clock = new FakeClock();
    lines.length = 0;
    const users = [{ name: 'ann', passwordHash: hashSync('p', 4), policies: [] }];
    fixture = await RegistryFixture.start({ anonymous: 'none', clock, users, log, accessLog: log });
  });
  afterEach(() => fixture.stop());

  const status = async (username: string, secret: string): Promise<number> =>
    (await fixture.send('GET', '/v2/team/app/tags/list', { as: `${username}:${secret}` })).status;

  it('sign in with the generated secret and do what their policies say', async () => {
    const { username, secret, robot } = fixture.registry.robots.create(PULLER);
    expect(username).toBe('robot+edge-7');
    expect(secret).toMatch(/^mural_[\w-]{43}$/);
    expect(robot).not.toHaveProperty('secret');
    expect(await status(username, secret)).toBe(404);
    expect(await status(username, `${secret}x`)).toBe(401);
    expect(await status('edge-7', secret)).toBe(401);
    expect((await fixture.send('GET', '/v2/other/tags/list', { as: `${username}:${secret}` })).status).toBe(
      403,
    );
    await fixture.restart();
    expect(await status(username, secret)).toBe(404);
  });

  it('keep the secret before for as long as was asked for, when they are rotated', async () => {
    const first = fixture.registry.robots.create(PULLER);
    const second = fixture.registry.robots.rotate('edge-7', HOUR);
    expect(second.secret).not.toBe(first.secret);
    expect(await status(first.username, first.secret)).toBe(404);
    expect(await status(first.username, second.secret)).toBe(404);
    await clock.advance(HOUR + 1);
    expect(await status(first.username, first.secret)).toBe(401);
    expect(await status(first.username, second.secret)).toBe(404);
    const third = fixture.registry.robots.rotate('edge-7', 0);
    expect(await status(first.username, second.secret)).toBe(401);
    expect(await status(first.username, third.secret)).toBe(404);
  });

  it('have at most two secrets, however fast they are rotated', async () => {
    const first = fixture.registry.robots.create(PULLER);
    const second = fixture.registry.robots.rotate('edge-7', HOUR);
    fixture.registry.robots.rotate('edge-7', HOUR);
    expect(await status(first.username, first.secret)).toBe(401);
    expect(await status(first.username, second.secret)).toBe(404);
  });

  it('end when they expire, though they signed in a moment before', async () => {
    const expiresAt = clock.now() + 60_000;
    const { username, secret } = fixture.registry.robots.create({ ...PULLER, expiresAt });
    await clock.advance(59_000);
    expect(await status(username, secret)).toBe(404);
    await clock.advance(2000);
    expect(await status(username, secret)).toBe(401);
    expect(fixture.registry.robots.list()).toMatchObject([{ name: 'edge-7', expiresAt }]);
  });

  it('end at once when they are removed, and a namesake has another secret', async () => {
    const { username, secret } = fixture.registry.robots.create(PULLER);
    expect(await status(username, secret)).toBe(404);
    fixture.registry.robots.remove('edge-7');
    expect(await status(username, secret)).toBe(401);
    const again = fixture.registry.robots.create(PULLER);
    expect(await status(username, secret)).toBe(401);
    expect(await status(username, again.secret)).toBe(404);
  });

  it('can be changed by another process while the registry serves', async () => {
    const other = openRobots(fixture.directory, clock);
    try {
      const { username, secret } = other.create(PULLER);
      await clock.advance(1001);
      expect(await status(username, secret)).toBe(404);
      const fresh = other.rotate('edge-7', 0);
      await clock.advance(1001);
      expect(await status(username, secret)).toBe(401);
      expect(await status(username, fresh.secret)).toBe(404);
      other.remove('edge-7');
      await clock.advance(1001);
      expect(await status(username, fresh.secret)).toBe(401);
      expect(fixture.registry.robots.list()).toEqual([]);
    } finally {
      other.close();
    }
  });

  it('leave no secret on the disk or in a log, in a file that only its owner reads', async () => {
    const { username, secret } = fixture.registry.robots.create(PULLER);
    await status(username, secret);
    await status(username, 'mural_planted-wrong-secret');
    for (const name of await readdir(fixture.directory)) {
      const path = join(fixture.directory, name);
      if (!(await stat(path)).isFile()) continue;
      const content = await readFile(path);
      expect(content.includes(secret)).toBe(false);
      expect(content.includes(secret.slice('mural_'.length))).toBe(false);
    }
    expect((await stat(join(fixture.directory, 'access.db'))).mode & 0o777).toBe(0o600);
    expect(lines.join('')).toContain('a sign-in was refused');
    expect(lines.join('')).not.toContain(secret);
    expect(lines.join('')).not.toContain('planted-wrong');
  });

  it.each([
    [{ name: 'Edge' }, 'RobotInvalid'],
    [{ name: 'a:b' }, 'RobotInvalid'],
    [{ name: '' }, 'RobotInvalid'],
    [{ name: '../x' }, 'RobotInvalid'],
    [{ name: 'a'.repeat(64) }, 'RobotInvalid'],
    [{ description: 'two\nlines' }, 'RobotInvalid'],
    [{ expiresAt: 1 }, 'RobotInvalid'],
    [{ policies: [{ repositories: 'A', actions: [] }] }, 'PolicyInvalid'],
  ])('%j is refused', (changed, code) => {
    expect(() => fixture.registry.robots.create({ ...PULLER, ...changed })).toThrow(
      expect.objectContaining({ code }) as Error,
    );
    expect(fixture.registry.robots.list()).toEqual([]);
  });

  it('are refused a second time under one name, and what is not there is said so', () => {
    const { robots } = fixture.registry;
    robots.create(PULLER);
    expect(() => robots.create(PULLER)).toThrow(/one of that name already/);
    expect(() => robots.rotate('none')).toThrow(expect.objectContaining({ code: 'RobotUnknown' }) as Error);
    expect(() => robots.remove('none')).toThrow(expect.objectContaining({ code: 'RobotUnknown' }) as Error);
  });

  it('are no users: a user cannot take the name of one', async () => {
    const user = { name: 'robot+edge-7', password: 'x', policies: [] };
    await expect(fixture.registry.setUser(user)).rejects.toMatchObject({ code: 'UserInvalid' });
  });
});
