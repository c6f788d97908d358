import { eventually } from '@mural/core/testing';
import { packArtifact, pushArtifact, RegistryClient } from '@mural/oci';
import { startFakeRegistry } from '@mural/oci/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { deployment, environment, profile, spoke, World } from '../test-world.ts';

const map = (value: string) =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {value: "${value}"}\n`;

describe('a component whose input is an artifact', () => {
  let world: World;
  let client: RegistryClient;
  beforeEach(async () => {
    world = await World.start();
    client = new RegistryClient({ registry: world.registry.host, insecure: true });
    await world.apply(environment('all', { spokeSelector: {} }), spoke('a'));
  });
  afterEach(async () => {
    await client.close();
    await world.stop();
  });

  const push = async (files: Record<string, string>, tag: string) => {
    const packed = Object.entries(files).map(([path, content]) => ({ path, content }));
    await pushArtifact(client, 'team/input', await packArtifact({ files: packed }), { tags: [tag] });
  };
  const url = () => `oci://${world.registry.host}/team/input`;

  it('is rendered from it, by a tag that may come from a parameter', async () => {
    await push({ 'a/x.yaml': map('1'), 'README.md': 'no' }, 'v1');
    await push({ 'a/x.yaml': map('2') }, 'v2');
    const artifact = { url: url(), tag: '${params.version}' };
    await world.apply(
      profile('shop', [{ name: 'app', type: 'manifests', properties: { artifact } }]),
      deployment('shop', { parameters: { version: 'v1' } }),
    );
    const first = (await world.published('shop'))['a'];
    expect((await world.files(first?.digest ?? ''))['000-app.yaml']).toContain('value: "1"');
    await world.apply(deployment('shop', { parameters: { version: 'v2' } }));
    await eventually(async () => (await world.published('shop'))['a']?.digest !== first?.digest);
  });

  it('says that the artifact is not there, and takes it when it is', async () => {
    const artifact = { url: url(), tag: 'later' };
    await world.apply(
      profile('shop', [{ name: 'app', type: 'manifests', properties: { artifact } }]),
      deployment('shop'),
    );
    const ready = await world.condition('shop', 'Ready', { status: 'False', reason: 'ArtifactPullFailed' });
    expect(ready.message).toMatch(/ManifestUnknown/);
    await push({ 'x.yaml': map('1') }, 'later');
    await world.published('shop');
  });

  it('comes from any registry of the hub', async () => {
    const other = await startFakeRegistry();
    const otherClient = new RegistryClient({ registry: other.host, insecure: true });
    try {
      const files = [{ path: 'x.yaml', content: map('7') }];
      await pushArtifact(otherClient, 'team/input', await packArtifact({ files }), { tags: ['v1'] });
      await world.stopHub();
      await world.startHub({
        registries: [world.home, { url: `oci://${other.host}/mural/workloads`, client: otherClient }],
      });
      const artifact = { url: `oci://${other.host}/team/input`, tag: 'v1' };
      await world.apply(
        profile('shop', [{ name: 'app', type: 'manifests', properties: { artifact } }]),
        deployment('shop'),
      );
      const { a } = await world.published('shop');
      expect((await world.files(a?.digest ?? ''))['000-app.yaml']).toContain('value: "7"');
    } finally {
      await otherClient.close();
      await other.close();
    }
  });

  it('comes from no other registry', async () => {
    const artifact = { url: 'oci://elsewhere.example.org/x', tag: 'v1' };
    await world.apply(
      profile('shop', [{ name: 'app', type: 'manifests', properties: { artifact } }]),
      deployment('shop'),
    );
    const ready = await world.condition('shop', 'Ready', { status: 'False', reason: 'ArtifactInvalid' });
    expect(ready.message).toMatch(/not from elsewhere\.example\.org/);
  });
});
