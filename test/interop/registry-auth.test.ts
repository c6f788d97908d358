import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hash } from 'bcryptjs';
import { exportJWK, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cleanUp, mural, startMural, temporaryFolder } from '../support/mural.ts';
import { run, tryRun } from '../support/run.ts';

interface Identity {
  readonly username: string;
  readonly password: string;
}

const ISSUER = 'https://issuer.example';

describe.each([
  ['basic authentication', ''],
  ['the token endpoint', 'token: { service: registry.test }\n'],
])("other people's clients signing in by %s", (_mode, token) => {
  let folder: string;
  let host: string;
  let ca: string;
  let data: string;
  let key: KeyObject;
  const identities: Record<string, Identity> = {};

  beforeAll(async () => {
    folder = await temporaryFolder();
    data = join(folder, 'registry');
    const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    key = pair.privateKey;
    const jwk = { ...(await exportJWK(pair.publicKey)), kid: 'one' };
    await writeFile(join(folder, 'jwks.json'), JSON.stringify({ keys: [jwk] }));
    await writeFile(join(folder, 'htpasswd'), `user:${await hash('user-secret', 5)}\n`);
    const policies = "[{ repositories: 'team/**', actions: [read, create, update, delete] }]";
    await writeFile(
      join(folder, 'registry.yaml'),
      `htpasswd: { file: htpasswd, policies: ${policies} }
anonymous: [{ repositories: 'public/**', actions: [read] }]
oidc:
  - name: ci
    issuer: ${ISSUER}
    audiences: [registry.test]
    jwksFile: jwks.json
    rules: [{ subject: 'repo:org/*:**', policies: ${policies} }]
${token}`,
    );
    const args = [
      'registry',
      'serve',
      '--data',
      data,
      '--port',
      '0',
      '--config',
      join(folder, 'registry.yaml'),
    ];
    const { ready } = await startMural(args, data, join(folder, 'ready.json'));
    host = new URL(ready['registry'] ?? '').host;
    ca = ready['ca'] ?? '';
    await mkdir(join(folder, 'certs'));
    await writeFile(join(folder, 'certs', 'ca.crt'), await readFile(ca));
    identities['user'] = { username: 'user', password: 'user-secret' };
    const robot = ['registry', 'robot', 'create', 'ci', '--allow', 'team/**=read,create,update,delete'];
    const created = await mural([...robot, '--data', data]);
    identities['robot'] = { username: 'robot+ci', password: created.stdout.trim() };
    identities['issuer'] = { username: 'oidc', password: await issued('repo:org/app:ref:refs/heads/main') };
  });
  afterAll(cleanUp);

  function issued(subject: string): Promise<string> {
    return new SignJWT({})
      .setProtectedHeader({ alg: 'ES256', kid: 'one' })
      .setIssuer(ISSUER)
      .setAudience('registry.test')
      .setSubject(subject)
      .setExpirationTime('1h')
      .sign(key);
  }

  /** A home of its own for each identity, so that no client finds what another left. */
  async function home(name: string): Promise<NodeJS.ProcessEnv> {
    const path = join(folder, `home-${name}`);
    await mkdir(path, { recursive: true });
    return { HOME: path, DOCKER_CONFIG: join(path, '.docker'), SSL_CERT_FILE: ca };
  }

  const identity = (name: string): Identity => identities[name] ?? { username: '', password: '' };

  it.each(['user', 'robot', 'issuer'])('crane as %s', async (name) => {
    const env = await home(`crane-${name}`);
    const { username, password } = identity(name);
    await run('crane', ['auth', 'login', host, '-u', username, '--password-stdin'], { env, input: password });
    const repository = `${host}/team/crane-${name}`;
    const layer = join(folder, 'layer.tar');
    await writeFile(join(folder, 'hello'), 'hello');
    await run('tar', ['-cf', layer, '-C', folder, 'hello']);
    await run('crane', ['append', '--oci-empty-base', '-f', layer, '-t', `${repository}:v1`], { env });
    const digest = (await run('crane', ['digest', `${repository}:v1`], { env })).trim();
    await run('crane', ['copy', `${repository}:v1`, `${host}/team/copy-${name}:v1`], { env });
    expect((await run('crane', ['digest', `${host}/team/copy-${name}:v1`], { env })).trim()).toBe(digest);
    await run('crane', ['validate', '--remote', `${repository}:v1`], { env });
    expect(await run('crane', ['ls', repository], { env })).toBe('v1\n');
    expect(await run('crane', ['catalog', host], { env })).toContain(`team/crane-${name}`);
    await run('crane', ['delete', `${repository}@${digest}`], { env });
    const denied = await tryRun('crane', ['copy', `${host}/team/copy-${name}:v1`, `${host}/other/x:v1`], {
      env,
    });
    expect([denied.code, denied.stderr]).toEqual([1, expect.stringContaining('403 Forbidden')]);
  });

  it.each(['user', 'robot', 'issuer'])('oras as %s', async (name) => {
    const env = await home(`oras-${name}`);
    const { username, password } = identity(name);
    await run('oras', ['login', host, '-u', username, '--password-stdin', '--ca-file', ca], {
      env,
      input: password,
    });
    const cwd = await temporaryFolder();
    await writeFile(join(cwd, 'file.txt'), `content of ${name}`);
    const reference = `${host}/team/oras-${name}:v1`;
    const flags = ['--ca-file', ca];
    await run('oras', ['push', ...flags, reference, 'file.txt:text/plain'], { env, cwd });
    await run('oras', ['attach', ...flags, '--artifact-type', 'example/note', reference, 'file.txt'], {
      env,
      cwd,
    });
    expect(await run('oras', ['discover', ...flags, reference], { env })).toContain('example/note');
    await run('oras', ['pull', ...flags, '-o', join(cwd, 'out'), reference], { env });
    expect(await readFile(join(cwd, 'out', 'file.txt'), 'utf8')).toBe(`content of ${name}`);
    expect(await run('oras', ['repo', 'tags', ...flags, `${host}/team/oras-${name}`], { env })).toBe('v1\n');
    await run('oras', ['manifest', 'delete', ...flags, '--force', reference], { env });
  });

  it.each(['user', 'robot', 'issuer'])('regctl as %s', async (name) => {
    const env = await home(`regctl-${name}`);
    const { username, password } = identity(name);
    await run('regctl', ['registry', 'login', host, '-u', username, '--pass-stdin'], {
      env,
      input: password,
    });
    const reference = `${host}/team/regctl-${name}:v1`;
    await run('regctl', ['artifact', 'put', '--artifact-type', 'example/config', reference], {
      env,
      input: 'hello',
    });
    expect(await run('regctl', ['artifact', 'get', reference], { env })).toBe('hello');
    expect(await run('regctl', ['tag', 'ls', `${host}/team/regctl-${name}`], { env })).toBe('v1\n');
    await run('regctl', ['image', 'copy', reference, `${host}/team/regctl-copy-${name}:v1`], { env });
    await run('regctl', ['tag', 'rm', reference], { env });
  });

  it.each(['user', 'robot', 'issuer'])('skopeo as %s', async (name) => {
    const env = await home(`skopeo-${name}`);
    const { username, password } = identity(name);
    const authfile = join(env['HOME'] ?? '', 'auth.json');
    const certs = join(folder, 'certs');
    const login = [
      'login',
      host,
      '-u',
      username,
      '--password-stdin',
      '--authfile',
      authfile,
      '--cert-dir',
      certs,
    ];
    await run('skopeo', login, { env, input: password });
    await run('crane', ['auth', 'login', host, '-u', username, '-p', password], { env });
    const reference = `${host}/team/skopeo-${name}:v1`;
    await writeFile(join(folder, 'hello'), 'hello');
    const layer = join(folder, 'skopeo.tar');
    await run('tar', ['-cf', layer, '-C', folder, 'hello']);
    await run('crane', ['append', '--oci-empty-base', '-f', layer, '-t', reference], { env });
    const layout = `oci:${join(await temporaryFolder(), 'layout')}:v1`;
    const from = ['--src-cert-dir', certs, '--authfile', authfile];
    await run('skopeo', ['--insecure-policy', 'copy', ...from, `docker://${reference}`, layout], { env });
    const to = ['--dest-cert-dir', certs, '--authfile', authfile];
    const again = `docker://${host}/team/skopeo-copy-${name}:v1`;
    await run('skopeo', ['--insecure-policy', 'copy', ...to, layout, again], { env });
    const inspect = ['inspect', '--cert-dir', certs, '--authfile', authfile, again];
    expect(await run('skopeo', inspect, { env })).toContain('sha256:');
  });

  it.each(['user', 'robot', 'issuer'])('helm as %s', async (name) => {
    const env = await home(`helm-${name}`);
    const { username, password } = identity(name);
    const login = ['registry', 'login', host, '-u', username, '--password-stdin', '--ca-file', ca];
    await run('helm', login, { env, input: password });
    const cwd = await temporaryFolder();
    await run('helm', ['create', 'shop'], { env, cwd });
    await run('helm', ['package', 'shop'], { env, cwd });
    const charts = `oci://${host}/team/charts-${name}`;
    await run('helm', ['push', 'shop-0.1.0.tgz', charts, '--ca-file', ca], { env, cwd });
    await run('helm', ['pull', `${charts}/shop`, '--version', '0.1.0', '--ca-file', ca, '-d', folder], {
      env,
      cwd,
    });
    expect(
      (await readFile(join(folder, 'shop-0.1.0.tgz'))).equals(await readFile(join(cwd, 'shop-0.1.0.tgz'))),
    ).toBe(true);
    const elsewhere = ['push', 'shop-0.1.0.tgz', `oci://${host}/other`, '--ca-file', ca];
    expect((await tryRun('helm', elsewhere, { env, cwd })).code).toBe(1);
  });

  it('nobody signs in with a wrong password, or with a token that no rule fits', async () => {
    const env = await home('wrong');
    const stranger = await issued('repo:other/app:ref');
    const tries: readonly Identity[] = [
      { username: 'user', password: 'wrong' },
      { username: 'robot+ci', password: 'mural_wrong' },
      { username: 'oidc', password: stranger },
    ];
    for (const { username, password } of tries) {
      const oras = ['login', host, '-u', username, '--password-stdin', '--ca-file', ca];
      expect((await tryRun('oras', oras, { env, input: password })).code).toBe(1);
      const helm = ['registry', 'login', host, '-u', username, '--password-stdin', '--ca-file', ca];
      expect((await tryRun('helm', helm, { env, input: password })).code).toBe(1);
    }
  });

  it('anonymous clients read what everybody may, and nothing else', async () => {
    const env = await home('anonymous');
    const absent = await tryRun('crane', ['manifest', `${host}/public/none:v1`], { env });
    expect([absent.code, absent.stderr]).toEqual([1, expect.stringContaining('MANIFEST_UNKNOWN')]);
    const hidden = await tryRun('crane', ['manifest', `${host}/team/none:v1`], { env });
    expect([hidden.code, hidden.stderr]).toEqual([1, expect.stringMatching(/UNAUTHORIZED/)]);
  });

  it('a robot that was rotated without overlap signs in with the new secret only', async () => {
    const env = await home('rotated');
    const robot = (verb: string, ...args: string[]) =>
      mural(['registry', 'robot', verb, ...args, '--data', data]);
    const first = (await robot('create', 'rotated', '--allow', 'team/**=read')).stdout.trim();
    const login = async (password: string): Promise<number | null> =>
      (
        await tryRun('oras', ['login', host, '-u', 'robot+rotated', '--password-stdin', '--ca-file', ca], {
          env,
          input: password,
        })
      ).code;
    expect(await login(first)).toBe(0);
    const second = (await robot('rotate', 'rotated', '--overlap', '1ms')).stdout.trim();
    expect(await login(second)).toBe(0);
    expect(await login(first)).toBe(1);
  });
});
