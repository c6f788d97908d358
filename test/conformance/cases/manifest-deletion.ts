import { type Case, must, require, requireBytes, requireStatus } from '../case.ts';
import { indexOf, MEDIA } from '../content.ts';

const ABSENT = `sha256:${'cd'.repeat(32)}`;

/** Deleting tags and manifests (end-9). */
export const MANIFEST_DELETION: readonly Case[] = [
  must('end-9', 'a deleted tag is 404, and its manifest stays', async (registry) => {
    const repository = registry.repository();
    const { manifest } = await registry.pushImage(repository, 'v1');
    requireStatus(await registry.send('DELETE', `/v2/${repository}/manifests/v1`), 202);
    requireStatus(await registry.getManifest(repository, 'v1'), 404);
    requireStatus(await registry.getManifest(repository, manifest.digest), 200);
  }),
  must('end-9', 'the other tags of a manifest stay when one is deleted', async (registry) => {
    const repository = registry.repository();
    const { manifest } = await registry.pushImage(repository, 'v1');
    await registry.pushManifest(repository, manifest, MEDIA.image, 'v2');
    requireStatus(await registry.send('DELETE', `/v2/${repository}/manifests/v1`), 202);
    requireStatus(await registry.getManifest(repository, 'v2'), 200);
  }),
  must('end-9', 'a deleted manifest is 404 by its digest and by every tag', async (registry) => {
    const repository = registry.repository();
    const { manifest } = await registry.pushImage(repository, 'v1');
    await registry.pushManifest(repository, manifest, MEDIA.image, 'v2');
    requireStatus(await registry.send('DELETE', `/v2/${repository}/manifests/${manifest.digest}`), 202);
    for (const reference of [manifest.digest, 'v1', 'v2'])
      requireStatus(await registry.getManifest(repository, reference), 404);
    const tags = (await registry.send('GET', `/v2/${repository}/tags/list`)).body.toString();
    require(!tags.includes('v1') && !tags.includes('v2'), `the tags are still listed: ${tags}`);
  }),
  must('end-9', 'what is not there cannot be deleted: 404', async (registry) => {
    const repository = registry.repository();
    await registry.pushImage(repository, 'v1');
    for (const path of [
      `${repository}/manifests/v2`,
      `${repository}/manifests/${ABSENT}`,
      `${registry.repository()}/manifests/v1`,
      `${registry.repository()}/manifests/${ABSENT}`,
    ])
      requireStatus(await registry.send('DELETE', `/v2/${path}`), 404);
  }),
  must('end-9', 'a deleted manifest can be pushed again', async (registry) => {
    const repository = registry.repository();
    const { manifest } = await registry.pushImage(repository, 'v1');
    requireStatus(await registry.send('DELETE', `/v2/${repository}/manifests/${manifest.digest}`), 202);
    await registry.pushManifest(repository, manifest, MEDIA.image, 'v1');
    requireBytes(await registry.getManifest(repository, 'v1'), manifest.bytes);
  }),
  must('end-9', 'a deletion leaves the manifest to other repositories', async (registry) => {
    const [one, two] = [registry.repository(), registry.repository()];
    const { manifest, layer, config } = await registry.pushImage(one, 'v1');
    for (const blob of [layer, config]) await registry.pushBlob(two, blob);
    await registry.pushManifest(two, manifest, MEDIA.image, 'v1');
    requireStatus(await registry.send('DELETE', `/v2/${one}/manifests/${manifest.digest}`), 202);
    requireBytes(await registry.getManifest(two, manifest.digest), manifest.bytes);
  }),
  must('end-9', 'an index keeps its manifests when it is deleted', async (registry) => {
    const repository = registry.repository();
    const { manifest } = await registry.pushImage(repository, 'v1');
    const index = indexOf([manifest]);
    await registry.pushManifest(repository, index, MEDIA.index, 'all');
    requireStatus(await registry.send('DELETE', `/v2/${repository}/manifests/${index.digest}`), 202);
    requireStatus(await registry.getManifest(repository, 'v1'), 200);
  }),
];
