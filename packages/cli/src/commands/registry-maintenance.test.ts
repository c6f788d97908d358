import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestOf, dockerConfig, packArtifact, pushArtifact, RegistryClient } from '@mural/oci';
import { type RegistryOptions, type RunningRegistry, startRegistry } from '@mural/registry';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Ran, run } from '../testing/run.ts';

const ALL = ['read', 'create', 'update', 'delete'] as const;
const USERS = [
  { name: 'admin', password: 'planted-secret', policies: [{ repositories: '**', actions: ALL }] },
  { name: 'team', password: 'team-secret', policies: [{ repositories: 'team/**', actions: ALL }] },
];

let folder: string;
let registry: RunningRegistry | undefined;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mural-maintenance-'));
});
afterEach(async () => {
  await stop();
  await rm(folder, { recursive: true, force: true });
});

async function start(options: Partial<RegistryOptions> = {}): Promise<RunningRegistry> {
  const dataDir = join(folder, 'data', 'registry');
  registry = await startRegistry({ port: 0, dataDir, users: USERS, useMs: 0, ...options });
  return registry;
}

async function stop(): Promise<void> {
  await registry?.close();
  registry = undefined;
}

/** Pushes an artifact, and one blob that nothing names. */
async function fill({ host }: RunningRegistry): Promise<void> {
  const credentials = { username: 'admin', password: 'planted-secret' };
  const client = new RegistryClient({ registry: host, credentials, insecure: true });
  const artifact = await packArtifact({ files: [{ path: 'a.yaml', content: 'kind: ConfigMap\n' }] });
  await pushArtifact(client, 'team/app', artifact, { tags: ['v1', 'v2'] });
  const stray = randomBytes(2048);
  const url = `http://${host}/v2/team/app/blobs/uploads/?digest=${digestOf(stray)}`;
  const authorization = `Basic ${Buffer.from('admin:planted-secret').toString('base64')}`;
  await fetch(url, { method: 'POST', body: stray, headers: { authorization } });
  await client.close();
}

function mural(...args: string[]): Promise<Ran> {
  return run(['registry', ...args], { cwd: folder, env: { HOME: folder } });
}

const CREDS = ['--creds', 'admin:planted-secret'];

describe('with a registry that does not run', () => {
  beforeEach(async () => {
    await fill(await start());
    await stop();
  });

  it('counts, collects by rules, checks and scrubs', async () => {
    const stats = await mural('stats', '--data', 'data');
    expect(stats.out).toMatch(/^REPOSITORY +TAGS +MANIFESTS +BLOBS +SIZE +UPLOADS\nteam\/app +2 +1 +3 +/);
    expect(stats.out).toContain('1 repositories, 2 tags, 1 manifests, 3 distinct blobs');
    const kept = await mural('gc', '--data', 'data');
    expect(kept.out).toContain('removed 0 tags, 0 manifests, 0 blobs');
    expect(kept.out).toContain('1 wait for the end of their grace period');
    const rules =
      'maintenance:\n  retention:\n  - repositories: "**"\n    tags: [{tags: v*, keepNewest: 1}]\n';
    await writeFile(join(folder, 'rules.yaml'), rules);
    const dry = await mural('gc', '--data', 'data', '--config', 'rules.yaml', '--grace', '0s', '--dry-run');
    expect(dry.out).toMatch(
      /^KIND +REPOSITORY +NAME +SIZE +WHEN +WHY\ntag +team\/app +v1 +- +now +not among the newest 1/,
    );
    expect(dry.out).toMatch(/blob +team\/app +[0-9a-f]{12} +2\.0 KiB +now +no manifest names it/);
    expect(dry.out).toContain(
      'would remove 1 tags, 0 manifests, 1 blobs, 0 stray files, 0 unfinished uploads: 2.0 KiB',
    );
    const done = await mural('gc', '--data', 'data', '--config', 'rules.yaml', '--grace', '0s', '-o', 'json');
    expect(JSON.parse(done.out)).toMatchObject({ dryRun: false, tags: 1, blobs: 1, freedBytes: 2048 });
    const verified = await mural('verify', '--data', 'data');
    expect([verified.code, verified.out]).toEqual([0, '1 repositories, 1 manifests, 2 blobs: 0 problems\n']);
    const scrubbed = await mural('scrub', '--data', 'data', '--rate', '50Mi');
    expect(scrubbed.out).toMatch(/^1 manifests and 2 blobs \(.*\) were hashed in .*: 0 damaged\n$/);
  });

  it('goes by rules in the folder of a hub only while that runs, since nobody else knows what its fleet uses', async () => {
    await mkdir(join(folder, 'data', 'api'));
    await writeFile(join(folder, 'data', 'api', 'state.db'), '');
    const rules = 'maintenance:\n  retention: [{ repositories: "**", untagged: remove }]\n';
    await writeFile(join(folder, 'rules.yaml'), rules);
    for (const data of ['data', 'data/registry']) {
      const { code, err } = await mural('gc', '--data', data, '--config', 'rules.yaml');
      expect([code, err]).toEqual([2, expect.stringContaining(`${data} is that of a hub`)]);
    }
    expect((await mural('gc', '--data', 'data')).code).toBe(0);
  });

  it('ends with exit code 1 where something is lost', async () => {
    const root = join(folder, 'data', 'registry', 'blobs', 'sha256');
    for (const prefix of await readdir(root)) {
      for (const name of await readdir(join(root, prefix))) await writeFile(join(root, prefix, name), 'x');
    }
    const scrubbed = await mural('scrub', '--data', 'data');
    expect([scrubbed.code, scrubbed.out]).toEqual([1, expect.stringContaining('3 damaged')]);
    const verified = await mural('verify', '--data', 'data');
    expect([verified.code, verified.out]).toEqual([1, expect.stringMatching(/lostBlob +team\/app +sha256:/)]);
  });

  it('backs up and restores', async () => {
    const backup = await mural('backup', '--data', 'data', '--to', 'backup');
    expect(backup.out).toMatch(/^3 blobs \(.*\) backed up to .*backup\n$/);
    const restored = await mural('restore', '--from', 'backup', '--data', 'other', '--output', 'json');
    expect(JSON.parse(restored.out)).toMatchObject({ blobs: 3, missing: [] });
    expect((await mural('verify', '--data', 'other')).code).toBe(0);
    const again = await mural('restore', '--from', 'backup', '--data', 'other');
    expect([again.code, again.err]).toEqual([
      1,
      expect.stringContaining('has the data of a registry already'),
    ]);
  });

  it.each([
    [['stats', '--data', 'none'], 1, 'there is no registry in none'],
    [['restore', '--from', 'none'], 1, 'has no backup.json'],
    [['gc', '--registry', 'https://a.example', '--grace', '1h'], 2, '--config and --grace are for --data'],
    [['stats', '--registry', 'a.example'], 2, 'is not a URL'],
    [['stats', '--registry', 'http://registry.example'], 2, 'plain HTTP to registry.example'],
    [
      ['stats', '--registry', 'https://u:planted-secret@a.example'],
      2,
      'a URL of a registry and nothing more',
    ],
    [['scrub', '--rate', 'fast'], 2, 'It must be a number of bytes'],
    [['backup'], 2, "required option '--to <dir>'"],
  ])('%j is refused', async (args, code, message) => {
    const ran = await mural(...args);
    expect([ran.code, ran.err]).toEqual([code, expect.stringContaining(message)]);
    expect(ran.err).not.toContain('planted-secret');
    expect(await readdir(folder)).toEqual(['data']);
  });

  it('finds what is wrong with the rules, and where', async () => {
    await writeFile(
      join(folder, 'rules.yaml'),
      'maintenance:\n  retention:\n  - repositories: "**"\n    tags:\n    - tags: v*\n      keepNewest: few\n',
    );
    const ran = await mural('gc', '--data', 'data', '--config', 'rules.yaml');
    expect(ran.code).toBe(1);
    expect(ran.err).toContain('rules.yaml:6:7');
    expect(ran.err).toContain('must be a whole number, 0 or more; found "few"');
  });
});

describe('with a registry that runs', () => {
  it('does the same over its administration, with the credentials of docker', async () => {
    const { url, host } = await start({ maintenance: { graceMs: 0 } });
    await fill(registry as RunningRegistry);
    const config = dockerConfig(host, { username: 'admin', password: 'planted-secret' });
    await writeFile(join(folder, 'config.json'), config);
    const env = { DOCKER_CONFIG: folder };
    const ask = (...args: string[]): Promise<Ran> =>
      run(['registry', ...args, '--registry', url], { cwd: folder, env });
    expect((await ask('stats')).out).toContain('3 distinct blobs');
    expect((await ask('gc')).out).toContain('removed 0 tags, 0 manifests, 1 blobs');
    expect((await ask('scrub')).out).toContain('0 damaged');
    expect((await ask('verify')).out).toContain('0 problems');
    expect((await ask('backup', '--to', 'backup')).out).toMatch(/^2 blobs/);
    expect((await ask('backup', '--to', 'backup')).out).toContain('2 of them there already');
    expect((await mural('restore', '--from', 'backup', '--data', 'other')).code).toBe(0);
    expect((await mural('verify', '--data', 'other')).code).toBe(0);
  });

  it('says what stands in the way', async () => {
    const { url } = await start();
    const folderInUse = await mural('stats', '--data', 'data');
    expect(folderInUse.err).toBe(
      'error: a registry runs on data\nhint: name it with --registry https://host:port, or stop it first\n',
    );
    expect((await mural('stats', '--registry', url)).err).toContain('wants credentials');
    expect((await mural('stats', '--registry', url, '--creds', 'team:team-secret')).err).toContain(
      'the account may not do everything',
    );
    await stop();
    expect((await mural('stats', '--registry', url, ...CREDS)).err).toContain(`cannot reach ${url}`);
  });
});
