import { digestOf, packArtifact } from '@mural/oci';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { deployment, environment, profile, spoke, World } from '../test-world.ts';

describe('a component whose input is an artifact', () => {
  let world: World;
  beforeEach(async () => {
    world = await World.start({ searchPath: process.env['PATH'] ?? '' });
    await world.apply(environment('all', { spokeSelector: {} }), spoke('a'));
  });
  afterEach(async () => {
    await world.stop();
  });

  it('may be a Helm chart as helm pushes it', async () => {
    const { layers } = await packArtifact({
      files: [
        { path: 'shop/Chart.yaml', content: 'apiVersion: v2\nname: shop\nversion: 0.1.0\n' },
        {
          path: 'shop/templates/x.yaml',
          content:
            'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {value: "{{ .Values.value }}"}\n',
        },
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
    const properties = {
      artifact: { url: `oci://${world.registry.host}/team/input`, tag: '0.1.0' },
      values: { value: '${spoke.name}' },
    };
    await world.apply(profile('shop', [{ name: 'app', type: 'helm', properties }]), deployment('shop'));
    const { a } = await world.published('shop');
    expect((await world.files(a?.digest ?? ''))['000-app.yaml']).toContain('value: a');
  });
});
