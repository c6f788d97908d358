import { type Case, must, require, requireBytes, requireStatus, should } from '../case.ts';

const VALID_NAMES = [
  'a',
  '0',
  'a/b/c/d/e',
  'a.b',
  'a_b',
  'a__b',
  'a-b',
  'a---b',
  'a/b.c_d__e-f',
  'v2',
  'blobs/list',
];
const INVALID_NAMES = ['A', 'a//b', 'a/', '/a', 'a..b', 'a___b', '.a', 'a.', '-a', 'a-', 'a b', 'ä'];
const VALID_TAGS = ['a', 'A', '_', '1.2.3', 'v-1_.', 'x'.repeat(128), `sha256-${'a'.repeat(64)}`];
const INVALID_TAGS = ['.a', '-a', 'a+b', 'a b', 'x'.repeat(129), 'a@b', 'ä'];

/** The grammar of names and tags ("Pulling manifests"). */
export const NAMES: readonly Case[] = [
  ...VALID_NAMES.map((name) =>
    must('Pulling manifests', `the name ${name} is one`, async (registry) => {
      const repository = `${registry.repository()}/${name}`;
      const { manifest } = await registry.pushImage(repository, 'v1');
      requireBytes(await registry.getManifest(repository, 'v1'), manifest.bytes);
    }),
  ),
  ...INVALID_NAMES.map((name) =>
    must('Pulling manifests', `the name ${name} is none`, async (registry) => {
      const path = `/v2/${registry.repository()}/${encodeURI(name)}/blobs/uploads/`;
      const { status } = await registry.send('POST', path);
      require(status >= 300 && status < 500, `an upload to it is answered with ${status}`);
    }),
  ),
  should('RFC 3986, 2.2', 'an encoded slash does not divide a name', async (registry) => {
    const path = `/v2/${registry.repository()}/a%2fb/blobs/uploads/`;
    const { status } = await registry.send('POST', path);
    require(status >= 300 && status < 500, `an upload to it is answered with ${status}`);
  }),
  ...VALID_TAGS.map((tag) =>
    must(
      'Pulling manifests',
      `the tag ${tag.slice(0, 12)} of ${tag.length} characters is one`,
      async (registry) => {
        const repository = registry.repository();
        const { manifest } = await registry.pushImage(repository, tag);
        requireBytes(await registry.getManifest(repository, tag), manifest.bytes);
      },
    ),
  ),
  ...INVALID_TAGS.map((tag) =>
    must(
      'Pulling manifests',
      `the tag ${tag.slice(0, 12)} of ${tag.length} characters is none`,
      async (registry) => {
        const repository = registry.repository();
        const { manifest } = await registry.pushImage(repository);
        requireStatus(
          await registry.putManifest(repository, encodeURIComponent(tag), manifest.bytes),
          400,
          404,
        );
      },
    ),
  ),
];
