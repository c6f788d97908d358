import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readUserFile } from '../context.ts';
import { run } from '../testing/run.ts';
import { readConfig } from './document.ts';
import { readRegistryConfig, type RegistryConfig } from './read.ts';
import { HubRegistryConfigFile, RegistryConfigFile } from './schema.ts';

const HASH = `$2b$10$${'a'.repeat(53)}`;

describe('a configuration of the registry', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mural-config-'));
    await writeFile(join(folder, 'htpasswd'), `ann:${HASH}\nbob:${HASH}\n`);
    await writeFile(join(folder, 'broken-htpasswd'), `ann:${HASH}\nbob:plain-secret\n`);
    await writeFile(join(folder, 'password'), 'planted-secret\n');
    await writeFile(join(folder, 'empty'), '');
    await writeFile(join(folder, 'keys.json'), '{"keys":[{"kty":"oct","kid":"a","k":"planted"}]}');
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  async function read(text: string, htpasswd?: string): Promise<{ config?: RegistryConfig; told: string }> {
    await writeFile(join(folder, 'registry.yaml'), text);
    let told = '';
    const context = { env: {}, cwd: folder, signal: new AbortController().signal, interactive: false };
    const source = {
      file: 'registry.yaml',
      htpasswd,
      cwd: folder,
      read: (path: string) =>
        readUserFile(
          { ...context, out: () => undefined, err: () => undefined, exitWith: () => undefined },
          path,
        ),
      tell: (line: string) => {
        told += line;
      },
    };
    try {
      return { config: await readRegistryConfig(source), told };
    } catch (error) {
      expect(error).toMatchObject({ name: 'CliError' });
      return { told: `${told}${(error as Error).message}` };
    }
  }

  it('names users with their passwords from three places, and what each may do', async () => {
    const { config, told } = await read(`
users:
  - name: hue
    passwordFile: password
    policies: [{ repositories: 'mural/**', actions: [read, create, update] }]
  - name: ann
    policies: &readers [{ repositories: '**', actions: [read] }]
  - { name: carol, passwordHash: '${HASH}', policies: *readers }
htpasswd: { file: htpasswd }
anonymous: [{ repositories: 'public/*', actions: [read] }]
token: { service: registry.example, lifetime: 2m }
`);
    expect(told).toBe('');
    const readers = [{ repositories: '**', actions: ['read'] }];
    expect(config?.access.users).toEqual([
      {
        name: 'hue',
        password: 'planted-secret',
        policies: [{ repositories: 'mural/**', actions: ['read', 'create', 'update'] }],
      },
      { name: 'ann', passwordHash: HASH, policies: readers },
      { name: 'carol', passwordHash: HASH, policies: readers },
      { name: 'bob', passwordHash: HASH, policies: [] },
    ]);
    expect(config?.access.token).toEqual({ service: 'registry.example', lifetimeSeconds: 120 });
    expect(config?.files.map((file) => file.slice(folder.length + 1)).sort()).toEqual([
      'htpasswd',
      'password',
      'registry.yaml',
    ]);
  });

  it('names registries that are mirrored, with credentials that are read again when they change', async () => {
    await writeFile(join(folder, 'upstream-password'), 'first\n');
    const { config, told } = await read(`
mirrors:
  - repositories: team/**
    upstream: https://registry.example.com
    credentials: { username: edge, passwordFile: upstream-password }
    tagTtl: 5m
    evictAfter: 720h
  - { prefix: ecr, upstream: https://123456789012.dkr.ecr.eu-west-1.amazonaws.com, credentials: { provider: aws } }
`);
    expect(told).toBe('');
    const [first, second] = config?.mirrors ?? [];
    expect(first).toMatchObject({ repositories: 'team/**', tagTtlMs: 300_000, evictAfterMs: 2_592_000_000 });
    expect(second).toMatchObject({ prefix: 'ecr' });
    const ask = first?.credentials;
    if (typeof ask !== 'function') throw new Error('there is no provider');
    const old = { username: 'edge', password: 'first' };
    await writeFile(join(folder, 'upstream-password'), 'second\n');
    expect(await ask()).toEqual(old);
    expect(await ask({ rejected: old })).toEqual({ username: 'edge', password: 'second' });
  });

  it('may be empty, and leaves the users to be generated', async () => {
    const { config } = await read('# nothing\n');
    expect(config).toMatchObject({ namesUsers: false, access: {} });
  });

  it.each([
    ['anonymus: none', /registry\.yaml:1:1: error: anonymus: is not a known key; did you mean anonymous\?/],
    ['anonymous: sometimes', /:1:1: error: anonymous: must be none, pull, push or a list of policies/],
    ['users:\n  - name: a\n    polices: []', /:2:5: error: users\[0\]\.policies: is missing/],
    ['users:\n  - name: a\n    polices: []', /:3:5: error: users\[0\]\.polices: .*did you mean policies\?/],
    ['users: [{ name: a, policies: [] }]', /:1:9: error: users\[0\]: a needs a passwordHash, a passwordFile/],
    [
      `users:\n  - name: a\n    passwordHash: plain-secret\n    policies: []`,
      /:2:5: error: users\[0\]: .*the hash is not of bcrypt/,
    ],
    [
      `users:\n  - { name: ann, passwordHash: '${HASH}', policies: [] }\nhtpasswd: { file: htpasswd }`,
      /:2:5: error: users\[0\]: ann has more than one password/,
    ],
    [
      `users:\n  - { name: a, passwordHash: '${HASH}', policies: [] }\n  - { name: a, passwordHash: '${HASH}', policies: [] }`,
      /:3:5: error: users\[1\]: a is there twice/,
    ],
    [
      `users:\n  - name: a\n    passwordHash: '${HASH}'\n    policies:\n      - repositories: x\n        actions: [pull]`,
      /:6:19: error: users\[0\]\.policies\[0\]\.actions\[0\]: .*"read"\|"create"\|"update"\|"delete"/,
    ],
    [
      `users:\n  - { name: a, passwordHash: '${HASH}', policies: [{ repositories: 'A/***', actions: [read] }] }`,
      /:2:5: error: users\[0\]: .*has a character that no repository's name has/,
    ],
    [
      'users: [{ name: a, passwordFile: none, policies: [] }]',
      /error: users\[0\]\.passwordFile: cannot read .*none: there is no/,
    ],
    [
      'users: [{ name: a, passwordFile: empty, policies: [] }]',
      /passwordFile: empty must hold one line with a password/,
    ],
    ['htpasswd: { file: broken-htpasswd }', /^broken-htpasswd:2:1: error: its hash is not a bcrypt hash/],
    ['token: { lifetime: 5s }', /:1:1: error: token: .*60 to 3600 seconds/],
    ['token: { lifetime: soon }', /token\.lifetime: must be a duration, such as 90s/],
    [
      'oidc: [{ name: ci, issuer: https://a.example, audiences: [], rules: [] }]',
      /audiences: needs an audience/,
    ],
    [
      'oidc:\n  - { name: ci, issuer: http://a.example, audiences: [x], rules: [{ policies: [] }] }',
      /:2:5: error: oidc\[0\]: .*https URL/,
    ],
    [
      'oidc: [{ name: ci, issuer: https://a.example, audiences: [x], jwksFile: keys.json, rules: [{ policies: [] }] }]',
      /oidc\[0\]: .*no key for signatures/,
    ],
    ['tls: { certFile: a }', /:1:1: error: tls: certFile and keyFile go together/],
    [
      'tls: { clients: { caFile: htpasswd, rules: [{ commonName: a, user: b }] } }',
      /tls\.clients: .*no certificate in PEM/,
    ],
    ['mirrors:\n  - { repositories: team/** }', /:2:5: error: mirrors\[0\]\.upstream: is missing/],
    [
      'mirrors:\n  - upstream: https://a.example\n    repositories: a\n    prefix: b',
      /:2:5: error: mirrors\[0\]: needs either repositories or prefix/,
    ],
    [
      'mirrors:\n  - repositories: "**"\n    upstream: http://a.example',
      /:3:5: error: mirrors\[0\]\.upstream: may use plain http for a loopback host only/,
    ],
    [
      'mirrors:\n  - repositories: "**"\n    upstream: https://u:planted@a.example',
      /:3:5: error: mirrors\[0\]\.upstream: must not hold a user name or password/,
    ],
    [
      'mirrors: [{ repositories: "**", upstream: https://a.example, tagTTL: 1m }]',
      /tagTTL: is not a known key; did you mean tagTtl\?/,
    ],
    [
      'mirrors: [{ repositories: "**", upstream: https://a.example, credentials: { username: x } }]',
      /mirrors\[0\]\.credentials: username and passwordFile go together/,
    ],
    [
      'mirrors: [{ repositories: "**", upstream: https://a.example, credentials: { provider: aws } }]',
      /mirrors\[0\]\.credentials: .*a\.example/,
    ],
    [
      'mirrors: [{ repositories: "**", upstream: https://a.example, credentials: { dockerConfigFile: keys.json } }]',
      /dockerConfigFile: keys\.json has no credentials for a\.example/,
    ],
    ['users: [', /:1:9: error: invalid YAML: /],
    ['a: 1\n---\nb: 2', /error: the file holds one YAML document/],
    ['a: 1\na: 2', /:2:1: error: invalid YAML: duplicate key/],
    ['- a', /:1:1: error: .*expected object/],
  ])('%j is refused with its place', async (text, message) => {
    const { config, told } = await read(text);
    expect(config).toBeUndefined();
    expect(told).toMatch(message);
    expect(told).not.toMatch(/planted|plain-secret/);
  });

  it('cannot name one htpasswd file while the command line names another', async () => {
    expect((await read('htpasswd: { file: htpasswd }', 'htpasswd')).told).toContain('names another');
    const { config } = await read('anonymous: none', 'htpasswd');
    expect(config?.access.users).toMatchObject([
      { name: 'ann', policies: [{ repositories: '**' }] },
      { name: 'bob' },
    ]);
  });

  it('of any text is read or refused, and never fails otherwise', async () => {
    const key = fc.constantFrom('users', 'htpasswd', 'oidc', 'tls', 'token', 'anonymous', 'x');
    await fc.assert(
      fc.asyncProperty(fc.dictionary(key, fc.jsonValue({ maxDepth: 3 }), { maxKeys: 3 }), async (value) => {
        const { config, told } = await read(JSON.stringify(value));
        expect(config === undefined ? told : 'read').not.toBe('');
      }),
      { numRuns: 50 },
    );
  });

  it('as the documentation shows it fits', async () => {
    const document = await readFile(new URL('../../../../docs/registry.md', import.meta.url), 'utf8');
    const [, text = ''] = /```yaml\n(users:[^]*?)```/.exec(document) ?? [];
    const [, mirrors = ''] = /```yaml\n(mirrors:[^]*?)```/.exec(document) ?? [];
    expect(readConfig(mirrors, 'registry.md', RegistryConfigFile)).toMatchObject({
      value: { mirrors: [{ repositories: 'fleet/**' }, { prefix: 'hub' }, { prefix: 'ecr' }] },
    });
    const shown = readConfig(text, 'registry.md', RegistryConfigFile);
    expect(shown).toMatchObject({ value: { users: [{ name: 'hue' }, { name: 'ann' }] } });
    const [, ofHub = ''] = /```yaml\n(# registry.yaml[^]*?)```/.exec(document) ?? [];
    expect(readConfig(ofHub, 'registry.md', HubRegistryConfigFile)).toMatchObject({
      value: { metrics: { port: 9090 }, mirrors: [{ prefix: 'hub' }], maintenance: {} },
    });
  });

  it('that is not valid starts nothing and leaves nothing', async () => {
    await writeFile(join(folder, 'bad.yaml'), 'anonymus: none\n');
    const data = join(folder, 'data');
    const args = ['registry', 'serve', '--data', data, '--port', '0', '--config', join(folder, 'bad.yaml')];
    const { code, err } = await run(args);
    expect(code).toBe(1);
    expect(err).toMatch(
      /bad\.yaml:1:1: error: anonymus[^]*\nerror: .*bad\.yaml is not valid; nothing was started\n/,
    );
    const { code: listed } = await run(['registry', 'robot', 'list', '--data', data]);
    expect(listed).toBe(1);
  });
});
