import { silentLogger, systemClock } from '@mural/core';
import { type MigrationState, registryPartHash } from '@mural/hub';
import type { KubeClient, KubeObject, Spoke, SpokeRegistry } from '@mural/kube';
import { RegistryClient } from '@mural/oci';
import { parseValues, type Values } from '@mural/values';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { afterMigration } from './after-migration.ts';
import { dependentsOf, describeDependents } from './dependents.ts';
import type { HelmRelease } from './helm-release.ts';
import { type OpenedRegistry, openRegistry } from './opened-registry.ts';
import { chooseRegistry, hasLogin, placeOf, settingsOf } from './registry-choice.ts';
import { releaseValues } from './release-values.ts';
import { SpokeRegistries } from './spoke-registries.ts';
import { readValues } from './values-document.ts';

function valuesOf(text: string): Values {
  const { values, findings } = parseValues(text, 'values.yaml');
  expect(findings.filter(({ level }) => level === 'error')).toEqual([]);
  return values;
}

function external(host: string, more = ''): string {
  return `hue:\n  ociRegistry: { endpoint: 'oci://${host}/fleet', repository: workloads${more} }\n`;
}

const ECR = `hue:
  ociRegistry: { endpoint: 'oci://123456789012.dkr.ecr.eu-west-1.amazonaws.com/team', repository: workloads, provider: aws }
  serviceAccount: { annotations: { eks.amazonaws.com/role-arn: 'arn:aws:iam::123456789012:role/hue' } }
flux2:
  sourceController:
    serviceAccount: { annotations: { eks.amazonaws.com/role-arn: 'arn:aws:iam::123456789012:role/source' } }
`;

function stateOf(more: Partial<MigrationState>): MigrationState {
  const side = (text: string, url: string) => ({ url, valuesHash: registryPartHash(valuesOf(text)) });
  return {
    version: 1,
    id: 'm',
    phase: 'SwitchingSpokes',
    from: side(external('old.example'), 'oci://old.example/fleet/workloads'),
    to: side(external('new.example'), 'oci://new.example/fleet/workloads'),
    switched: [],
    assumed: [],
    wave: [],
    behind: {},
    waves: 0,
    copied: { artifacts: 0, bytes: 0 },
    startedAt: '2026-01-01T00:00:00Z',
    updatedAt: '2026-01-01T00:00:00Z',
    ...more,
  };
}

function spoke(name: string, more: Partial<Spoke> = {}): Spoke {
  return { apiVersion: 'mural.dev/v1alpha1', kind: 'Spoke', metadata: { name }, ...more };
}

describe('the choice of the registry', () => {
  it('takes the credential of a cloud and the role of hue', () => {
    const { external: choice } = chooseRegistry(valuesOf(ECR));
    expect(choice).toMatchObject({ cloud: 'aws', roleArn: 'arn:aws:iam::123456789012:role/hue' });
    expect(choice).not.toHaveProperty('credential');
  });

  it('knows two documents that write the same repository, whatever else they say', () => {
    const slower = external('old.example', ', interval: 9m');
    expect(placeOf(valuesOf(slower))).toBe(placeOf(valuesOf(external('old.example'))));
    expect(placeOf(valuesOf(external('new.example')))).not.toBe(placeOf(valuesOf(external('old.example'))));
    expect(placeOf(valuesOf('zot: {}'))).toBe('mural/workloads');
  });

  it('gives a spoke that names a cloud by itself no Secret', () => {
    const fleet = {
      url: 'oci://a/b',
      interval: '1m',
      timeout: '1m',
      secrets: { credential: true, ca: true },
    };
    const ociRegistry = { endpoint: 'oci://public.ecr.aws/x/', repository: 'y', provider: 'aws' as const };
    const settings = settingsOf({ fleet, spokes: {} }, spoke('a', { spec: { ociRegistry } }));
    expect(settings).toMatchObject({ url: 'oci://public.ecr.aws/x/y', provider: 'aws' });
    expect(settings.secrets?.credential).toBe(false);
  });
});

describe('the registries of spokes', () => {
  function end(text: string, host: string) {
    const url = `oci://${host}/fleet/workloads`;
    const fleet = { url, interval: '5m', timeout: '60s' };
    const registry: OpenedRegistry = {
      url: `https://${host}`,
      hub: { url, client: new RegistryClient({ registry: host }) },
      accounts: {
        ensure: async (name) => ({ username: name, password: host }),
        remove: async () => undefined,
      },
      directory: { fleet, spokes: {} },
      identity: host,
    };
    return { values: valuesOf(text), registry };
  }
  const ends = () =>
    [end(external('new.example'), 'new.example'), end(external('old.example'), 'old.example')] as const;

  it('are those of the values in force, unless a migration has not come to a spoke', () => {
    const both = ends();
    const settled = new SpokeRegistries([...both], undefined);
    expect(settled.settingsOf(spoke('a')).url).toBe('oci://new.example/fleet/workloads');
    const moving = new SpokeRegistries([...both], stateOf({ switched: ['b'] }));
    expect(moving.settingsOf(spoke('a')).url).toBe('oci://old.example/fleet/workloads');
    expect(moving.settingsOf(spoke('b')).url).toBe('oci://new.example/fleet/workloads');
    expect(moving.directory.fleet.url).toBe('oci://old.example/fleet/workloads');
    expect(moving.directory.spokes).toMatchObject({ b: { url: 'oci://new.example/fleet/workloads' } });
    const done = new SpokeRegistries([...both], stateOf({ switched: ['b'], phase: 'Completed' }));
    expect(done.settingsOf(spoke('a')).url).toBe('oci://new.example/fleet/workloads');
  });

  it('do not depend on which of the two documents is in force', () => {
    const [newer, older] = ends();
    const moving = new SpokeRegistries([older, newer], stateOf({ switched: ['b'] }));
    expect(moving.settingsOf(spoke('a')).url).toBe('oci://old.example/fleet/workloads');
    expect(moving.settingsOf(spoke('b')).url).toBe('oci://new.example/fleet/workloads');
  });

  it('leave a spoke its accounts in all of them', async () => {
    const { accounts } = new SpokeRegistries([...ends()], undefined);
    expect(await accounts.ensure('a', 'new.example')).toEqual({ username: 'a', password: 'new.example' });
    expect(await accounts.others?.('a', 'new.example')).toEqual([
      { host: 'old.example', credential: { username: 'a', password: 'old.example' } },
    ]);
  });
});

describe('a spoke that reads the mirror of its site', () => {
  const SITE = `fleetConfig:
  spokes:
    - name: edge
      ociRegistry: { endpoint: 'oci://site.example:5000/fleet', repository: workloads, basicAuth: { username: spokes, password: at-the-site } }
    - name: near
      ociRegistry: { endpoint: 'oci://hub.example/fleet', repository: workloads, basicAuth: { username: near, password: at-the-hub } }
`;
  const site = { endpoint: 'oci://site.example:5000/fleet', repository: 'workloads' };
  const edge = (ociRegistry: SpokeRegistry) => spoke('edge', { spec: { ociRegistry } });
  const values = valuesOf(`${external('hub.example')}${SITE}`);
  const shared = { embedded: undefined, clock: systemClock, log: silentLogger };
  const registries = () => {
    const registry = openRegistry({ values, ...shared });
    return new SpokeRegistries([{ values, registry }], undefined);
  };

  it('has its account there from the values, and shows neither registry that of the other', async () => {
    const { accounts, directory } = registries();
    const atSite = { username: 'spokes', password: 'at-the-site' };
    expect(await accounts.ensure('edge', 'site.example:5000')).toEqual(atSite);
    expect(await accounts.ensure('edge', 'hub.example')).toBeUndefined();
    expect(await accounts.ensure('edge', 'other.example')).toBeUndefined();
    expect(await accounts.ensure('near', 'site.example:5000')).toBeUndefined();
    const atHub = { username: 'near', password: 'at-the-hub' };
    expect(await accounts.ensure('near', 'hub.example')).toEqual(atHub);
    expect(await accounts.others?.('near', 'site.example:5000')).toEqual([
      { host: 'hub.example', credential: atHub },
    ]);
    expect(directory.logins).toEqual({ edge: 'site.example:5000' });
    expect(hasLogin(directory, edge(site))).toBe(true);
    expect(hasLogin(directory, spoke('other', { spec: { ociRegistry: site } }))).toBe(false);
    expect(hasLogin(directory, spoke('near'))).toBe(true);
  });

  it('signs in there as its own object says, not as the hub does', () => {
    const settings = settingsOf(openRegistry({ values: valuesOf(ECR), ...shared }).directory, edge(site));
    expect(settings).toMatchObject({
      ...{ url: 'oci://site.example:5000/fleet/workloads', provider: 'generic' },
      secrets: { credential: true, ca: false },
    });
    const replica = 'oci://123456789012.dkr.ecr.us-east-1.amazonaws.com/team';
    const other = settingsOf(
      openRegistry({ values: valuesOf(ECR), ...shared }).directory,
      edge({ ...site, endpoint: replica }),
    );
    expect(other).toMatchObject({ provider: 'aws', secrets: { credential: false, ca: false } });
  });

  it('trusts a CA of its own where it is told one, and none without TLS', () => {
    const { directory } = registries();
    const ca = '-----BEGIN CERTIFICATE-----';
    expect(settingsOf(directory, edge(site)).secrets?.ca).toBe(false);
    expect(settingsOf(directory, edge({ ...site, ca })).secrets?.ca).toBe(true);
    expect(settingsOf(directory, edge({ ...site, ca, insecure: true })).secrets?.ca).toBe(false);
  });
});

describe('the spokes that depend on a former registry', () => {
  const target = () => 'oci://new/x';
  const status = (registryUrl: string, lastHeartbeatTime: string) => ({
    status: { registryUrl, lastHeartbeatTime },
  });

  it('are those that have not reported the present one since it is', () => {
    const spokes = [
      spoke('moved', status('oci://new/x', '2')),
      spoke('old-report', status('oci://new/x', '1')),
      spoke('behind', status('oci://old/x', '2')),
      spoke('silent'),
      spoke('suspended', { spec: { suspend: true } }),
      { ...spoke('going'), metadata: { name: 'going', deletionTimestamp: '2026-01-01T00:00:00Z' } },
    ];
    const seen = { heartbeat: '1', reads: 'oci://new/x' };
    const atOnce = spoke('at-once', status('oci://new/x', '1'));
    const before = new Map([
      ...spokes.map(({ metadata }) => [metadata.name ?? '', seen] as const),
      ['at-once', { heartbeat: '1', reads: 'oci://old/x' }],
    ]);
    const found = dependentsOf([...spokes, atOnce], target, before);
    expect(found.map(({ name }) => name)).toEqual(['old-report', 'behind', 'silent']);
    expect(describeDependents(found)).toBe(
      'old-report (has not reported since), behind (reads oci://old/x), silent (has never reported)',
    );
  });

  it('are named up to a number that can be read', () => {
    const spokes = Array.from({ length: 30 }, (_, index) => spoke(`s${index}`));
    expect(describeDependents(dependentsOf(spokes, target, new Map()))).toMatch(/, 20 more$/);
  });
});

describe('values of a start after a migration', () => {
  const NEW = `${external('new.example', ", basicAuth: { username: hue, password: 'hunter2-4711' }")}fleetConfig:
  spokes:
    - name: a
      ociRegistry: { endpoint: 'oci://new.example/fleet', repository: workloads }
`;
  const OLD = `${external('old.example')}fleetConfig:
  spokes:
    - { name: a, labels: { tier: edge }, ociRegistry: { endpoint: 'oci://old.example/fleet', repository: workloads } }
    - { name: b }
`;
  const document = (text: string) => readValues(text, 'v').document ?? expect.fail('values are not valid');
  const side = (text: string, url: string) => ({ url, valuesHash: registryPartHash(valuesOf(text)) });
  const state = (phase: MigrationState['phase']) =>
    stateOf({ phase, from: side(OLD, 'oci://old.example/fleet/workloads'), to: side(NEW, 'oci://new') });

  it.each(['SwitchingHub', 'SwitchingSpokes', 'Completed'] as const)('keep the registry (%s)', (phase) => {
    const kept = afterMigration({
      ...{ text: OLD, file: 'values.yaml' },
      ...{ state: state(phase), inForce: document(NEW) },
    });
    const values = valuesOf(kept.text);
    expect(placeOf(values)).toBe('oci://new.example/fleet/workloads');
    expect(values.hue.ociRegistry.basicAuth?.password).toBe('hunter2-4711');
    expect(values.fleetConfig.spokes).toMatchObject([
      { name: 'a', labels: { tier: 'edge' }, ociRegistry: { endpoint: 'oci://new.example/fleet' } },
      { name: 'b' },
    ]);
    expect(kept.warning).toContain('endpoint: oci://new.example/fleet');
    expect(kept.warning).not.toContain('hunter2');
  });

  it.each(['Copying', 'RevertingHub', 'RevertingSpokes', 'RolledBack'] as const)(
    'are taken as they are (%s)',
    (phase) => {
      const kept = afterMigration({
        ...{ text: OLD, file: 'values.yaml' },
        ...{ state: state(phase), inForce: document(NEW) },
      });
      expect(kept).toEqual({ text: OLD });
    },
  );

  it('are taken as they are when they name a third registry, or nothing was migrated', () => {
    const text = external('third.example');
    const options = { text, file: 'v', inForce: document(NEW) };
    expect(afterMigration({ ...options, state: state('Completed') })).toEqual({ text });
    expect(afterMigration({ ...options, text: OLD, state: undefined })).toEqual({ text: OLD });
  });
});

describe('the values of a HelmRelease', () => {
  const objects: Readonly<Record<string, Record<string, string>>> = {
    'Secret/a': {
      'values.yaml': Buffer.from('hue: { x: 1, y: [1, 2] }\nzot: { enabled: true }').toString('base64'),
    },
    'ConfigMap/b': { other: 'hue: { y: [3] }' },
    'Secret/bad': { 'values.yaml': Buffer.from('password: hunter2: [').toString('base64') },
  };
  const client = {
    find: async <T extends KubeObject>(resource: { kind: string }, { name }: { name: string }) => {
      const data = objects[`${resource.kind}/${name}`];
      return (data === undefined ? undefined : { kind: resource.kind, metadata: { name }, data }) as
        | T
        | undefined;
    },
  } as unknown as KubeClient;
  const release = (spec: HelmRelease['spec']): HelmRelease => ({
    apiVersion: 'helm.toolkit.fluxcd.io/v2',
    kind: 'HelmRelease',
    metadata: { name: 'mural' },
    ...(spec === undefined ? {} : { spec }),
  });

  it('are merged in order, its own over all others', async () => {
    const valuesFrom = [
      { kind: 'Secret', name: 'a' },
      { kind: 'ConfigMap', name: 'b', valuesKey: 'other' },
      { kind: 'ConfigMap', name: 'none', optional: true },
    ];
    const values = await releaseValues(client, release({ valuesFrom, values: { zot: { enabled: false } } }));
    expect(values).toEqual({ hue: { x: 1, y: [3] }, zot: { enabled: false } });
    expect(await releaseValues(client, release(undefined))).toEqual({});
  });

  it.each([
    [{ kind: 'ConfigMap', name: 'none' }, /no ConfigMap mural-system\/none/],
    [{ kind: 'Secret', name: 'a', valuesKey: 'z' }, /key z/],
    [{ kind: 'Secret', name: 'a', targetPath: 'hue.x' }, /targetPath is not supported/],
    [{ kind: 'Secret', name: 'bad' }, /no YAML mapping/],
  ])('refuse %j', async (reference, message) => {
    const refused = releaseValues(client, release({ valuesFrom: [reference] }));
    await expect(refused).rejects.toThrow(message);
    await expect(refused).rejects.not.toThrow(/hunter2/);
  });
});

describe('a values document', () => {
  it('is none when a finding is an error, and reads the same from JSON', () => {
    expect(readValues('zot: { enabled: maybe }', 'v').document).toBeUndefined();
    const tree = { zot: { enabled: true } };
    expect(readValues(stringify(tree), 'v').document?.values).toEqual(
      readValues(JSON.stringify(tree), 'v').document?.values,
    );
  });
});
