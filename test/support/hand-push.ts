import { readFile } from 'node:fs/promises';
import { credentialsFromDockerConfig, type Digest, digestOf, MEDIA_TYPES, RegistryClient } from '@mural/oci';
import type { Hub } from './mural.ts';

/** A client of the hub's registry that may do everything. */
export async function adminOf(hub: Hub): Promise<RegistryClient> {
  const registry = new URL(hub.ready.registry).host;
  const credentials = credentialsFromDockerConfig(await readFile(hub.ready.dockerConfig, 'utf8'), registry);
  return new RegistryClient({ registry, credentials, ca: await readFile(hub.ready.ca, 'utf8') });
}

/** Pushes bytes as the layer of a Flux artifact, whatever they are. Returns the layer's digest. */
export async function pushLayer(
  client: RegistryClient,
  repository: string,
  tag: string,
  layer: Uint8Array,
): Promise<Digest> {
  const config = Buffer.from('{}');
  const blobs = [
    { bytes: config, digest: digestOf(config), size: config.length, mediaType: MEDIA_TYPES.fluxConfig },
    { bytes: layer, digest: digestOf(layer), size: layer.length, mediaType: MEDIA_TYPES.fluxContent },
  ] as const;
  for (const blob of blobs) await client.putBlob(repository, blob);
  const [first, second] = blobs.map(({ digest, size, mediaType }) => ({ mediaType, digest, size }));
  const manifest = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.imageManifest,
    config: first,
    layers: [second],
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  await client.putManifest(repository, tag, bytes, MEDIA_TYPES.imageManifest);
  return blobs[1].digest;
}
