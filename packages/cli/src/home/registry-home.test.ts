import { createHash } from 'node:crypto';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually, FakeClock } from '@mural/core/testing';
import { hashSync } from 'bcryptjs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { run } from '../testing/run.ts';
import { readRegistryConfig } from '../registry-config/read.ts';
import { ensureCertificates } from './certificates.ts';
import type { RunningHome } from './home.ts';
import type { LoadedConfig } from './follow-config.ts';
import { type RegistryFacts, startRegistryHome } from './registry-home.ts';
import { readFile } from 'node:fs/promises';

describe('a registry whose files change', () => {
  let folder: string;
  let clock: FakeClock;
  let home: RunningHome<RegistryFacts>;
  let ca = '';
  let logged = '';
  const path = (name: string): string => join(folder, name);
  const hash = hashSync('secret', 4);

  async function load(tell: (line: string) => void): Promise<LoadedConfig> {
    const read = (file: string): Promise<string> => readFile(file, 'utf8');
    const config = await readRegistryConfig({ file: path('registry.yaml'), cwd: folder, read, tell });
    const pair = { cert: await read(path('tls.crt')), key: await read(path('tls.key')) };
    return { config, pair, files: [...config.files, path('tls.crt'), path('tls.key')] };
  }

  /** Replaces a file as `mv` does. */
  async function put(name: string, content: string): Promise<void> {
    await writeFile(path('new'), content);
    await rename(path('new'), path(name));
  }

  async function putCertificate(name: string): Promise<void> {
    const made = await ensureCertificates(path(name), ['127.0.0.1'], clock);
    ca = made.ca;
    await put('tls.key', made.server.key);
    await put('tls.crt', made.server.cert);
  }

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mural-registry-home-'));
    clock = new FakeClock(Date.now());
    logged = '';
    await putCertificate('first');
    await put('htpasswd', `ann:${hash}\n`);
    const policies = "policies: [{ repositories: '**', actions: [read] }]";
    await put('registry.yaml', `htpasswd: { file: htpasswd, ${policies} }\n`);
    home = await startRegistryHome({
      ...{ dataDir: path('data'), listen: '127.0.0.1', port: 0, clock },
      tls: { cert: await readFile(path('tls.crt'), 'utf8'), key: await readFile(path('tls.key'), 'utf8') },
      log: { level: 'info', echo: (line) => void (logged += line) },
      loaded: await load(() => undefined),
      reload: load,
    });
  });
  afterEach(async () => {
    await home.stop();
    await rm(folder, { recursive: true, force: true });
  });

  function signIn(name: string): Promise<number | string> {
    return new Promise((resolve) => {
      const sent = request(
        `${home.facts.registry}/v2/`,
        { ca, auth: `${name}:secret`, agent: false },
        (answer) => {
          answer.resume();
          resolve(answer.statusCode ?? 0);
        },
      );
      sent.on('error', (error) => resolve('code' in error ? String(error.code) : error.message));
      sent.end();
    });
  }

  /** Pushes a blob. @returns the status */
  function push(content: string): Promise<number> {
    const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`;
    return new Promise((resolve, reject) => {
      const url = `${home.facts.registry}/v2/team/app/blobs/uploads/?digest=${digest}`;
      const sent = request(url, { ca, auth: 'ann:secret', method: 'POST', agent: false }, (answer) => {
        answer.resume();
        resolve(answer.statusCode ?? 0);
      });
      sent.on('error', reject);
      sent.end(content);
    });
  }

  async function settled(text: string): Promise<void> {
    await eventually(async () => {
      await clock.advance(2000);
      return logged.includes(text);
    });
    logged = '';
  }

  it('knows new users and forgets removed ones, at once and without a restart', async () => {
    expect([await signIn('ann'), await signIn('bob')]).toEqual([200, 401]);
    await put('htpasswd', `bob:${hash}\n`);
    await settled('changed files are in use');
    expect([await signIn('ann'), await signIn('bob')]).toEqual([401, 200]);
  });

  it('goes on with what it had while a file is broken or away, and says which line is wrong', async () => {
    await put('htpasswd', `ann:${hash}\nbob:plain-secret\n`);
    await settled('htpasswd:2:1: error: its hash is not a bcrypt hash');
    expect(await signIn('ann')).toBe(200);
    await rm(path('htpasswd'));
    await settled('what was in use stays');
    expect(await signIn('ann')).toBe(200);
    expect(logged).not.toContain('plain-secret');
    await put('htpasswd', `ann:${hash}\nbob:${hash}\n`);
    await settled('changed files are in use');
    expect(await signIn('bob')).toBe(200);
  });

  it('serves with a new certificate, and with the old one until the new one fits its key', async () => {
    const before = ca;
    const second = await ensureCertificates(path('second'), ['127.0.0.1'], clock);
    await put('tls.crt', second.server.cert);
    await settled('what was in use stays');
    expect(await signIn('ann')).toBe(200);
    await put('tls.key', second.server.key);
    await settled('changed files are in use');
    ca = before;
    expect(await signIn('ann')).not.toBe(200);
    ca = second.ca;
    expect(await signIn('ann')).toBe(200);
  });

  it('limits repositories by other quotas at once, and by what it had while the new ones are wrong', async () => {
    const all = "policies: [{ repositories: '**', actions: [read, create] }]";
    const quota = (bytes: string): string =>
      `htpasswd: { file: htpasswd, ${all} }\nmaintenance: { quotas: [{ repositories: '**', bytes: ${bytes} }] }\n`;
    await put('registry.yaml', quota('10'));
    await settled('changed files are in use');
    expect(await push('0123456789abcdef')).toBe(403);
    await put('registry.yaml', quota('lots'));
    await settled('error: maintenance.quotas[0].bytes: must be a number of bytes');
    expect(await push('0123456789abcdef')).toBe(403);
    await put('registry.yaml', quota('1Ki'));
    await settled('changed files are in use');
    expect(await push('0123456789abcdef')).toBe(201);
  });

  it('says what holds from the next start only', async () => {
    const policies = "policies: [{ repositories: '**', actions: [read] }]";
    await put('registry.yaml', `htpasswd: { file: htpasswd, ${policies} }\nanonymous: pull\n`);
    await settled('"sections":["anonymous"]');
    expect(await signIn('ann')).toBe(200);
  });
});

describe('mural registry robot', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mural-robot-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('makes, lists, rotates and removes accounts while the registry serves; secrets go to stdout alone', async () => {
    const log = { level: 'silent', echo: () => undefined };
    const home = await startRegistryHome({
      ...{ dataDir: folder, listen: '127.0.0.1', port: 0, tls: 'none', log },
    });
    const data = ['--data', folder];
    const robot = (...args: string[]) => run(['registry', 'robot', ...args, ...data]);
    const status = async (secret: string): Promise<number> => {
      const authorization = `Basic ${Buffer.from(`robot+ci:${secret}`).toString('base64')}`;
      return (await fetch(`${home.facts.registry}/v2/team/a/tags/list`, { headers: { authorization } }))
        .status;
    };
    try {
      const created = await robot('create', 'ci', '--allow', 'team/**=read,create', '--expires', '720h');
      expect(created).toMatchObject({ code: 0, out: expect.stringMatching(/^mural_[\w-]{43}\n$/) as string });
      expect(created.err).toBe('robot+ci signs in with this secret, which is not shown again.\n');
      const secret = created.out.trim();
      await eventually(async () => (await status(secret)) === 404);
      const listed = await robot('list');
      expect(listed.out).toMatch(
        /^NAME +USERNAME +ALLOWED +EXPIRES[^]*\nci +robot\+ci +team\/\*\*=read,create +20/,
      );
      const rotated = await robot('rotate', 'ci', '--overlap', '1h', '-o', 'json');
      const { secret: second } = JSON.parse(rotated.out) as { secret: string };
      await eventually(async () => (await status(second)) === 404);
      expect(await status(secret)).toBe(404);
      expect((await robot('list', '-o', 'json')).out).toMatch(/"previousSecretUntil": "20/);
      expect((await robot('list', '-o', 'json')).out).not.toContain('mural_');
      expect((await robot('remove', 'ci')).code).toBe(0);
      await eventually(async () => (await status(second)) === 401);
      expect((await robot('list')).err).toBe('There are no robots.\n');
    } finally {
      await home.stop();
    }
  });

  it.each([
    [['create', 'ci', '--allow', 'team/**=pull'], 1, /"pull" is not an action; the actions are read, create/],
    [['create', 'CI', '--allow', 'a=read'], 1, /a name has 1 to 63 lower case letters/],
    [['create', 'ci', '--allow', 'a'], 2, /must be like 'team\/\*\*=read,create'/],
    [['create', 'ci'], 2, /--allow/],
    [['rotate', 'none'], 1, /no robot "none"/],
    [['remove', 'none'], 1, /no robot "none"/],
  ])('%j is refused', async (args, code, message) => {
    const log = { level: 'silent', echo: () => undefined };
    const home = await startRegistryHome({
      ...{ dataDir: folder, listen: '127.0.0.1', port: 0, tls: 'none', log },
    });
    await home.stop();
    const ran = await run(['registry', 'robot', ...args, '--data', folder]);
    expect([ran.code, ran.out]).toEqual([code, '']);
    expect(ran.err).toMatch(message);
  });

  it('makes no registry where there is none', async () => {
    const ran = await run(['registry', 'robot', 'list', '--data', join(folder, 'none')]);
    expect(ran).toMatchObject({ code: 1, err: expect.stringContaining('there is no registry in') as string });
  });
});
