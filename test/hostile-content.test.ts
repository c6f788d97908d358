import { readdir, readFile, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { eventually } from '@mural/core/testing';
import {
  CONFIG_MAPS,
  KUSTOMIZATIONS,
  type Kustomization,
  type KubeObject,
  OCI_REPOSITORIES,
  type OCIRepository,
  SECRETS,
  type UnstructuredObject,
  WORKLOAD_DEPLOYMENTS,
  type WorkloadDeployment,
} from '@mural/kube';
import { pullArtifact, type RegistryClient } from '@mural/oci';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { adminOf, pushLayer } from './support/hand-push.ts';
import { cleanUp, deploymentReady, type Hub, restartSpoke, startHub, startSpoke } from './support/mural.ts';
import { apply, configMap, deployment, environment, manifestsProfile } from './support/objects.ts';
import { seededRandom } from './support/random.ts';
import { type Misbehaviour, startStallingRegistry } from './support/stalling-registry.ts';
import { blobFile, flipBit } from './support/tamper.ts';
import { type TarEntry, tarOf } from './support/tar.ts';

const random = seededRandom();
const REPOSITORY = 'by-hand/hostile';

function randomBytes(size: number): Buffer {
  return Buffer.from(Uint8Array.from({ length: size }, () => Math.floor(random() * 256)));
}

function layerOf(...entries: readonly TarEntry[]): Buffer {
  return gzipSync(tarOf(entries));
}

describe(`what a registry should never have held (seed ${random.seed})`, () => {
  let hub: Hub;
  let admin: RegistryClient;

  beforeAll(async () => {
    hub = await startHub();
    admin = await adminOf(hub);
    await copySecrets(hub);
  }, 60_000);
  afterAll(async () => {
    await admin.close();
    await cleanUp();
  });

  /** A source in the hub's own cluster, and a Kustomization that would apply what it brings. */
  async function follow(name: string, spec: Partial<OCIRepository['spec']> = {}): Promise<void> {
    const url = `oci://${new URL(hub.ready.registry).host}/${REPOSITORY}`;
    const secrets = { secretRef: { name: 'admin' }, certSecretRef: { name: 'ca' } };
    const metadata = { name, namespace: 'default' };
    await apply(
      hub.client,
      {
        apiVersion: 'source.toolkit.fluxcd.io/v1',
        kind: 'OCIRepository',
        metadata,
        spec: { url, interval: '1s', timeout: '5s', ref: { tag: name }, ...secrets, ...spec },
      } as OCIRepository,
      {
        apiVersion: 'kustomize.toolkit.fluxcd.io/v1',
        kind: 'Kustomization',
        metadata,
        spec: { interval: '1s', prune: true, path: './', sourceRef: { kind: 'OCIRepository', name } },
      } as Kustomization,
    );
  }

  async function source(name: string): Promise<OCIRepository> {
    return hub.client.get<OCIRepository>(OCI_REPOSITORIES, { name, namespace: 'default' });
  }

  async function refused(name: string, reason: string): Promise<string> {
    return eventually(async () => {
      const ready = (await source(name)).status?.conditions?.find(({ type }) => type === 'Ready');
      return ready?.status === 'False' && ready.reason === reason && ready.message;
    }, 20_000);
  }

  async function configMapValue(name: string): Promise<string | undefined> {
    const found = await hub.client.find<UnstructuredObject>(CONFIG_MAPS, { name, namespace: 'default' });
    return (found?.data as { value?: string } | undefined)?.value;
  }

  describe('an archive', () => {
    const outside = join(tmpdir(), `mural-outside-${process.pid}.yaml`);
    const manifest = configMap('stowaway', { value: 'from outside' });
    const good: TarEntry = { path: 'good.yaml', content: configMap('companion', { value: 'good' }) };

    it.each<[string, readonly TarEntry[], RegExp]>([
      ['leads-up', [good, { path: '../x.yaml', content: manifest }], /\.\.\/x\.yaml/],
      [
        'leads-far-up',
        [good, { path: `a/${'../'.repeat(12)}${outside.slice(1)}`, content: manifest }],
        /\.\.\//,
      ],
      ['absolute', [good, { path: outside, content: manifest }], /mural-outside/],
      [
        'symlink',
        [good, { path: 'out', type: '2', link: '../..' }, { path: 'out/x.yaml', content: manifest }],
        /out/,
      ],
      ['hard-link', [good, { path: 'passwd.yaml', type: '1', link: '/etc/passwd' }], /passwd\.yaml/],
    ])(
      'that is %s is refused with its name, and nothing of it is written or applied',
      async (name, entries, what) => {
        const before = await filesOf(hub.data);
        await pushLayer(admin, REPOSITORY, name, layerOf(...entries));
        await follow(name);
        const message = await refused(name, 'OCIArtifactLayerOperationFailed');
        expect(message).toMatch(what);
        const kustomization = await eventually(async () => {
          const found = await hub.client.get<Kustomization>(KUSTOMIZATIONS, { name, namespace: 'default' });
          return (found.status?.conditions?.some(({ type }) => type === 'Ready') ?? false) && found;
        });
        const ready = kustomization.status?.conditions?.find(({ type }) => type === 'Ready');
        expect(ready?.status).not.toBe('True');
        expect((await source(name)).status?.artifact).toBeUndefined();
        expect(await configMapValue('companion')).toBeUndefined();
        expect(await configMapValue('stowaway')).toBeUndefined();
        await expect(stat(outside)).rejects.toMatchObject({ code: 'ENOENT' });
        const added = (await filesOf(hub.data)).filter((file) => !before.includes(file));
        // What the hub itself stores meanwhile, the root of its own spoke among it, is none of this.
        const own = /^(registry|logs|api|spoke\/ocirepository\/mural-system)\//;
        expect(added.filter((file) => !own.test(file))).toEqual([]);
      },
    );

    it('that is a bomb is refused, and the hub does not swell with it', async () => {
      const member = gzipSync(Buffer.alloc(32 * 1024 * 1024), { level: 9 });
      await pushLayer(admin, REPOSITORY, 'bomb', Buffer.concat(Array.from({ length: 128 }, () => member)));
      const before = await peakMemory(hub);
      await follow('bomb');
      expect(await refused('bomb', 'OCIArtifactLayerOperationFailed')).toMatch(/more than \d+ bytes/);
      expect((await peakMemory(hub)) - before).toBeLessThan(700);
      await hub.client.delete(OCI_REPOSITORIES, { name: 'bomb', namespace: 'default' });
    });
  });

  describe('a blob', () => {
    it('that was altered on the disk of a running registry is not applied until it is pushed again', async () => {
      const layer = (value: string): Buffer =>
        layerOf(
          { path: 'a.yaml', content: configMap('precious', { value }) },
          { path: 'filler.txt', content: randomBytes(1_500_000).toString('base64') },
        );
      await pushLayer(admin, REPOSITORY, 'altered', layer('1'));
      await follow('altered');
      await eventually(async () => (await configMapValue('precious')) === '1', 20_000);
      const good = (await source('altered')).status?.artifact;

      await hub.client.patch(OCI_REPOSITORIES, { name: 'altered', namespace: 'default' }, 'merge', {
        spec: { suspend: true },
      });
      const second = layer('2');
      const digest = await pushLayer(admin, REPOSITORY, 'altered', second);
      await flipBit(blobFile(hub.data, digest));
      await hub.client.patch(OCI_REPOSITORIES, { name: 'altered', namespace: 'default' }, 'merge', {
        spec: { suspend: false },
      });
      expect(await refused('altered', 'OCIArtifactPullFailed')).toContain(digest);
      expect((await source('altered')).status?.artifact).toEqual(good);
      expect(await configMapValue('precious')).toBe('1');
      await hub.client.delete(CONFIG_MAPS, { name: 'precious', namespace: 'default' });
      await eventually(async () => (await configMapValue('precious')) === '1');

      await pushLayer(admin, REPOSITORY, 'altered', second);
      await eventually(async () => (await configMapValue('precious')) === '2', 20_000);
    }, 60_000);

    it('of a workload that was altered while the hub was stopped is put right when it starts', async () => {
      const edge = await startSpoke(hub, 'edge-1', { labels: { tier: 'edge' } });
      await apply(
        hub.client,
        environment('edges', { tier: 'edge' }),
        manifestsProfile('app', configMap('app', { value: '1' })),
        deployment('app', 'app', 'edges'),
      );
      await deploymentReady(hub, 'app');
      await edge.kill();
      await apply(hub.client, manifestsProfile('app', configMap('app', { value: '2' })));
      const ref = { name: 'app', namespace: 'default' };
      const digest = await eventually(async () => {
        const { status, metadata } = await hub.client.get<WorkloadDeployment>(WORKLOAD_DEPLOYMENTS, ref);
        const [spoke] = status?.spokes ?? [];
        const isNew = spoke?.digest !== spoke?.appliedDigest;
        return status?.observedGeneration === metadata.generation && isNew && spoke?.digest;
      });
      const { layerDescriptor } = await pullArtifact(admin, 'mural/workloads', digest);
      await hub.stop();
      await flipBit(blobFile(hub.data, layerDescriptor.digest));

      const port = (url: string) => Number(new URL(url).port);
      hub = await startHub({
        data: hub.data,
        apiPort: port(hub.ready.api),
        registryPort: port(hub.ready.registry),
      });
      const again = await restartSpoke(edge.name, edge.data);
      const seen = new Set<unknown>();
      await eventually(async () => {
        const object = await again.client.find<UnstructuredObject>(CONFIG_MAPS, ref);
        const value = (object?.data as { value?: string } | undefined)?.value;
        seen.add(value);
        return value === '2';
      }, 60_000);
      expect([...seen].sort()).toEqual(seen.size === 1 ? ['2'] : ['1', '2']);
      expect((await deploymentReady(hub, 'app')).status?.summary).toBe('1/1');
      await again.stop();
    }, 120_000);
  });

  describe('a registry that', () => {
    const closers: (() => Promise<void>)[] = [];
    let sources: string[];
    beforeEach(() => {
      sources = [];
    });
    afterEach(async () => {
      for (const name of sources) {
        await hub.client.delete(KUSTOMIZATIONS, { name, namespace: 'default' });
        await hub.client.delete(OCI_REPOSITORIES, { name, namespace: 'default' });
      }
      await Promise.all(closers.splice(0).map(async (close) => close()));
    });

    async function followBad(name: string, misbehaviour: Misbehaviour): Promise<void> {
      const layer = layerOf({ path: 'a.yaml', content: configMap('lied', { value: '1' }) });
      const bad = await startStallingRegistry(misbehaviour, layer);
      closers.push(async () => bad.close());
      sources.push(name);
      const metadata = { name, namespace: 'default' };
      await apply(
        hub.client,
        {
          apiVersion: 'source.toolkit.fluxcd.io/v1',
          kind: 'OCIRepository',
          metadata,
          spec: { url: `oci://${bad.host}/any`, interval: '1s', timeout: '2s', insecure: true },
        } as OCIRepository,
        {
          apiVersion: 'kustomize.toolkit.fluxcd.io/v1',
          kind: 'Kustomization',
          metadata,
          spec: { interval: '1m', prune: true, path: './', sourceRef: { kind: 'OCIRepository', name } },
        } as Kustomization,
      );
    }

    it.each<[Misbehaviour]>([['silent'], ['half']])(
      'is %s holds no source beyond its timeout, and others go on meanwhile',
      async (misbehaviour) => {
        const names = Array.from({ length: 12 }, (_, index) => `${misbehaviour}-${index}`);
        for (const name of names) await followBad(name, misbehaviour);
        const good = `beside-${misbehaviour}`;
        const content = configMap(good, { value: '1' });
        await pushLayer(admin, REPOSITORY, good, layerOf({ path: 'a.yaml', content }));
        await follow(good);
        const started = Date.now();
        await eventually(async () => (await configMapValue(good)) === '1', 15_000);
        expect(Date.now() - started).toBeLessThan(12_000);
        for (const name of names) {
          const message = await refused(name, 'OCIArtifactPullFailed');
          expect(message).toMatch(/timed out after 2s/);
        }
      },
      60_000,
    );

    it('sends other bytes than it promised is not believed', async () => {
      await followBad('lying', 'lying');
      expect(await refused('lying', 'OCIArtifactPullFailed')).toMatch(/sha256:/);
      expect(await configMapValue('lied')).toBeUndefined();
    });
  });
});

/** The hub's admin account of the registry, and the registry's CA, where sources of tests can refer to them. */
async function copySecrets(hub: Hub): Promise<void> {
  const secret = async (name: string, type: string, key: string, path: string): Promise<void> => {
    const object = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name, namespace: 'default' },
      type,
      stringData: { [key]: await readFile(path, 'utf8') },
    };
    await hub.client.apply<KubeObject>(SECRETS, object, { fieldManager: 'kubectl' });
  };
  await secret('admin', 'kubernetes.io/dockerconfigjson', '.dockerconfigjson', hub.ready.dockerConfig);
  await secret('ca', 'Opaque', 'ca.crt', hub.ready.ca);
}

/** Paths of all files below a folder. */
async function filesOf(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
}

/** The most memory that the hub's process has had, in MiB. */
async function peakMemory(hub: Hub): Promise<number> {
  const status = await readFile(`/proc/${hub.child.pid ?? 0}/status`, 'utf8');
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) / 1024;
}
