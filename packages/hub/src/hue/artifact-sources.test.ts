import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { eventually } from '@mural/core/testing';
import { digestOf, packArtifact, pushArtifact, RegistryClient } from '@mural/oci';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findBinary } from '../render/binary.ts';
import { deployment, environment, profile, spoke, World } from '../test-world.ts';

const searchPath = [process.env['PATH'] ?? '', join(homedir(), '.cache/mural-tools/bin')].join(delimiter);
const helm = await findBinary(['helm'], searchPath);
if (helm === undefined && process.env['CI'] === 'true') throw new Error('helm is not installed');

const map = (value: string) =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {value: "${value}"}\n`;

describe('a component whose input is an artifact', () => {
  let world: World;
  let client: RegistryClient;
  beforeEach(async () => {
    world = await World.start({ searchPath });
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

  it('comes from no other registry', async () => {
    const artifact = { url: 'oci://elsewhere.example.org/x', tag: 'v1' };
    await world.apply(
      profile('shop', [{ name: 'app', type: 'manifests', properties: { artifact } }]),
      deployment('shop'),
    );
    const ready = await world.condition('shop', 'Ready', { status: 'False', reason: 'ArtifactInvalid' });
    expect(ready.message).toMatch(/not from elsewhere\.example\.org/);
  });

  it.skipIf(helm === undefined)('may be a Helm chart as helm pushes it', async () => {
    const { layers } = await packArtifact({
      files: [
        { path: 'shop/Chart.yaml', content: 'apiVersion: v2\nname: shop\nversion: 0.1.0\n' },
        { path: 'shop/templates/x.yaml', content: map('{{ .Values.value }}') },
      ],
    });
    const bytes = layers[0]?.bytes ?? Buffer.alloc(0);
    const config = Buffer.from('{"name":"shop"}');
    world.registry.addBlob('team/input', bytes);
    world.registry.addBlob('team/input', config);
    const manifest = {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: {
        mediaType: 'application/vnd.cncf.helm.config.v1+json',
        digest: digestOf(config),
        size: config.length,
      },
      layers: [
        {
          mediaType: 'application/vnd.cncf.helm.chart.content.v1.tar+gzip',
          digest: digestOf(bytes),
          size: bytes.length,
        },
      ],
    };
    world.registry.addManifest('team/input', JSON.stringify(manifest), '0.1.0');
    const properties = { artifact: { url: url(), tag: '0.1.0' }, values: { value: '${spoke.name}' } };
    await world.apply(profile('shop', [{ name: 'app', type: 'helm', properties }]), deployment('shop'));
    const { a } = await world.published('shop');
    expect((await world.files(a?.digest ?? ''))['000-app.yaml']).toContain('value: a');
  });
});
