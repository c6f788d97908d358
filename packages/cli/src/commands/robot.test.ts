import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger } from '@mural/core';
import { dockerConfig } from '@mural/oci';
import { type RunningRegistry, startRegistry } from '@mural/registry';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Ran, run } from '../testing/run.ts';

const ALL = ['read', 'create', 'update', 'delete'] as const;
const USERS = [
  { name: 'admin', password: 'planted-secret', policies: [{ repositories: '**', actions: ALL }] },
  { name: 'team', password: 'team-secret', policies: [{ repositories: 'team/**', actions: ALL }] },
];

let folder: string;
let registry: RunningRegistry;
let logged: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mural-robot-'));
  logged = '';
  const destination = { write: (line: string) => (logged += line) };
  const log = createLogger({ destination, masked: false, level: 'debug' });
  const dataDir = join(folder, 'data', 'registry');
  registry = await startRegistry({ port: 0, dataDir, users: USERS, log, accessLog: log });
});
afterEach(async () => {
  await registry.close();
  await rm(folder, { recursive: true, force: true });
});

function robot(...args: string[]): Promise<Ran> {
  return run(['registry', 'robot', ...args, '--registry', registry.url], {
    cwd: folder,
    env: { HOME: folder, DOCKER_CONFIG: folder },
  });
}

async function status(secret: string): Promise<number> {
  const authorization = `Basic ${Buffer.from(`robot+ci:${secret}`).toString('base64')}`;
  return (await fetch(`${registry.url}/v2/team/a/tags/list`, { headers: { authorization } })).status;
}

describe('mural registry robot --registry', () => {
  it('makes, lists, rotates and removes accounts of a registry that runs, which knows at once', async () => {
    const credential = { username: 'admin', password: 'planted-secret' };
    await writeFile(join(folder, 'config.json'), dockerConfig(registry.host, credential));
    const allow = ['--allow', 'team/**=read,create', '--allow', 'base=read'];
    const created = await robot('create', 'ci', ...allow, '--expires', '720h', '--description', 'builds');
    expect(created).toMatchObject({ code: 0, out: expect.stringMatching(/^mural_[\w-]{43}\n$/) as string });
    expect(created.err).toBe('robot+ci signs in with this secret, which is not shown again.\n');
    const first = created.out.trim();
    expect(await status(first)).toBe(404);
    expect((await robot('list')).out).toMatch(
      /^NAME +USERNAME +ALLOWED +EXPIRES[^]*\nci +robot\+ci +team\/\*\*=read,create base=read +20\S+Z +20\S+Z +-\n$/,
    );
    const rotated = await robot('rotate', 'ci', '--overlap', '1h', '-o', 'json');
    const { secret: second, ...document } = JSON.parse(rotated.out) as { secret: string };
    expect(document).toMatchObject({ name: 'ci', username: 'robot+ci', description: 'builds' });
    expect([await status(first), await status(second)]).toEqual([404, 404]);
    const listed = await robot('list', '-o', 'json');
    expect(listed.out).toMatch(/"previousSecretUntil": "20/);
    const third = (await robot('rotate', 'ci', '--overlap', '0s')).out.trim();
    expect([await status(second), await status(third)]).toEqual([401, 404]);
    expect((await robot('remove', 'ci')).err).toBe('The robot ci is gone.\n');
    expect(await status(third)).toBe(401);
    expect((await robot('list')).err).toBe('There are no robots.\n');
    expect(listed.out + logged).not.toContain('mural_');
    expect(logged).toContain('"robot":"ci","by":"admin"');
  });

  it('says why the registry refuses', async () => {
    const admin = ['--creds', 'admin:planted-secret'];
    const refusals = [
      [
        ['create', 'ci', '--allow', 'a=pull', ...admin],
        '"pull" is not an action; the actions are read, create',
      ],
      [['create', 'CI', '--allow', 'a=read', ...admin], 'a name has 1 to 63 lower case letters'],
      [['rotate', 'none', ...admin], 'There is no robot "none"'],
      [['remove', '../leases', ...admin], 'answered 404'],
      [['list', '--creds', 'team:team-secret'], 'the account may not do everything'],
      [['list'], 'wants credentials'],
    ] as const;
    for (const [args, why] of refusals) {
      const ran = await robot(...args);
      expect([ran.code, ran.out, ran.err]).toEqual([1, '', expect.stringContaining(why)]);
    }
  });
});
