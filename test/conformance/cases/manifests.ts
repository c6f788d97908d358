import {
  type Case,
  locationOf,
  may,
  must,
  require,
  requireBytes,
  requireError,
  requireHeader,
  requireStatus,
  should,
} from '../case.ts';
import {
  type Content,
  contentOf,
  descriptorOf,
  imageOf,
  indexOf,
  LAYER,
  MEDIA,
  randomContent,
} from '../content.ts';
import { type Registry, sha512, withQuery } from '../registry.ts';

const ABSENT = `sha256:${'cd'.repeat(32)}`;
const EMPTY = contentOf('{}');

/** A repository with a config and a layer. */
async function withBlobs(registry: Registry) {
  const repository = registry.repository();
  const layer = randomContent(200);
  await registry.pushBlob(repository, EMPTY);
  await registry.pushBlob(repository, layer);
  return { repository, layer };
}

/** That a manifest is taken, and read back as it was pushed. */
async function requireKept(
  registry: Registry,
  repository: string,
  content: Content,
  mediaType: string,
): Promise<void> {
  const answer = await registry.putManifest(repository, 'v1', content.bytes, mediaType);
  requireStatus(answer, 201);
  for (const reference of ['v1', content.digest]) {
    const read = await registry.getManifest(repository, reference);
    requireStatus(read, 200);
    requireBytes(read, content.bytes);
    requireHeader(read, 'content-type', mediaType);
    requireHeader(read, 'docker-content-digest', content.digest);
  }
}

/** Reading manifests (end-3). */
const READ: readonly Case[] = [
  ...['GET', 'HEAD'].flatMap((method) => [
    must('end-3', `${method} finds a manifest by tag and by digest`, async (registry) => {
      const repository = registry.repository();
      const { manifest } = await registry.pushImage(repository, 'v1');
      for (const reference of ['v1', manifest.digest]) {
        const answer = await registry.getManifest(repository, reference, method);
        requireStatus(answer, 200);
        requireHeader(answer, 'docker-content-digest', manifest.digest);
        requireHeader(answer, 'content-type', MEDIA.image);
        requireHeader(answer, 'content-length', String(manifest.bytes.length));
        requireBytes(answer, method === 'GET' ? manifest.bytes : Buffer.of());
      }
    }),
    must(
      'end-3',
      `${method} of a tag, a digest or a repository that is not there is 404`,
      async (registry) => {
        const repository = registry.repository();
        await registry.pushImage(repository, 'v1');
        requireStatus(await registry.getManifest(repository, 'v2', method), 404);
        requireStatus(await registry.getManifest(repository, ABSENT, method), 404);
        requireStatus(await registry.getManifest(registry.repository(), 'v1', method), 404);
      },
    ),
  ]),
  must('end-3', 'a manifest is in the repositories that it was pushed to and no other', async (registry) => {
    const { manifest } = await registry.pushImage(registry.repository(), 'v1');
    const other = registry.repository();
    await registry.pushImage(other, 'v1');
    requireStatus(await registry.getManifest(other, manifest.digest), 404);
  }),
  should('Error Codes', 'a manifest that is not there is MANIFEST_UNKNOWN', async (registry) => {
    const repository = registry.repository();
    await registry.pushImage(repository, 'v1');
    requireError(await registry.getManifest(repository, 'v2'), 'MANIFEST_UNKNOWN');
  }),
  ...['sha256:abc', `sha256:${'z'.repeat(64)}`, `foo:${'a'.repeat(64)}`, ':'].map((digest) =>
    must('end-3', `the malformed digest ${digest.slice(0, 12)} is 400 or 404`, async (registry) => {
      const repository = registry.repository();
      await registry.pushImage(repository, 'v1');
      requireStatus(await registry.getManifest(repository, digest), 400, 404);
    }),
  ),
];

/** Manifests of all kinds, and the exact bytes of each. */
const KINDS: readonly Case[] = [
  must('end-7a', 'a manifest is kept byte by byte', async (registry) => {
    const { repository, layer } = await withBlobs(registry);
    const text = JSON.stringify(JSON.parse(imageOf(EMPTY, [layer]).bytes.toString()), null, '\t');
    await requireKept(registry, repository, contentOf(` ${text}\r\n\n`), MEDIA.image);
  }),
  must('end-7a', 'unknown fields and text beyond ASCII are kept', async (registry) => {
    const { repository, layer } = await withBlobs(registry);
    const extra = {
      'org.example.field': [1, { a: null }],
      annotations: { größe: '\u00fc\ud83d\ude00 \\u0041' },
    };
    await requireKept(registry, repository, imageOf(EMPTY, [layer], extra), MEDIA.image);
  }),
  must('end-7a', 'a manifest without layers is taken', async (registry) => {
    const { repository } = await withBlobs(registry);
    await requireKept(registry, repository, imageOf(EMPTY, []), MEDIA.image);
  }),
  must('end-7a', 'a layer may be named twice', async (registry) => {
    const { repository, layer } = await withBlobs(registry);
    await requireKept(registry, repository, imageOf(EMPTY, [layer, layer]), MEDIA.image);
  }),
  must('end-7a', 'a manifest without mediaType is what the Content-Type says', async (registry) => {
    const { repository, layer } = await withBlobs(registry);
    await requireKept(registry, repository, imageOf(EMPTY, [layer], { mediaType: undefined }), MEDIA.image);
  }),
  must('end-7a', 'an artifact with a type, an empty config and data in it is taken', async (registry) => {
    const { repository, layer } = await withBlobs(registry);
    const config = descriptorOf(EMPTY, 'application/vnd.oci.empty.v1+json', { data: 'e30=' });
    const artifact = imageOf(EMPTY, [layer], { artifactType: 'application/vnd.example+type', config });
    await requireKept(registry, repository, artifact, MEDIA.image);
  }),
  must('end-7a', 'a manifest of Docker (schema 2) is taken', async (registry) => {
    const { repository, layer } = await withBlobs(registry);
    const config = descriptorOf(EMPTY, 'application/vnd.docker.container.image.v1+json');
    const layers = [descriptorOf(layer, 'application/vnd.docker.image.rootfs.diff.tar.gzip')];
    const manifest = imageOf(EMPTY, [], { mediaType: MEDIA.dockerImage, config, layers });
    await requireKept(registry, repository, manifest, MEDIA.dockerImage);
  }),
  must('end-7a', 'a manifest list of Docker is taken', async (registry) => {
    const repository = registry.repository();
    const { manifest } = await registry.pushImage(repository);
    const platform = { architecture: 'amd64', os: 'linux' };
    const manifests = [descriptorOf(manifest, MEDIA.image, { platform })];
    const list = indexOf([], { mediaType: MEDIA.dockerList, manifests });
    await requireKept(registry, repository, list, MEDIA.dockerList);
  }),
  must('end-7a', 'an index, an index of indexes and an empty one are taken', async (registry) => {
    const repository = registry.repository();
    const [one, two] = [await registry.pushImage(repository), await registry.pushImage(repository)];
    const inner = indexOf([one.manifest, two.manifest]);
    await requireKept(registry, repository, inner, MEDIA.index);
    const outer = indexOf([], { manifests: [descriptorOf(inner, MEDIA.index)] });
    await requireKept(registry, repository, outer, MEDIA.index);
    await requireKept(registry, repository, indexOf([]), MEDIA.index);
  }),
  ...[
    'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
    'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
  ].map((mediaType) =>
    must('image-spec, layers', `layers of ${mediaType} need not be there`, async (registry) => {
      const { repository } = await withBlobs(registry);
      const absent = descriptorOf(randomContent(9), mediaType, { urls: ['https://layers.example/1'] });
      await requireKept(registry, repository, imageOf(EMPTY, [], { layers: [absent] }), MEDIA.image);
    }),
  ),
  should('end-7a', 'a manifest of 4,000,000 bytes is taken', async (registry) => {
    const { repository, layer } = await withBlobs(registry);
    const bare = imageOf(EMPTY, [layer], { annotations: { fill: '' } }).bytes.length;
    const large = imageOf(EMPTY, [layer], { annotations: { fill: 'x'.repeat(4_000_000 - bare) } });
    await requireKept(registry, repository, large, MEDIA.image);
  }),
  should('end-7a', 'a manifest that is far too large is 413, and not kept', async (registry) => {
    const { repository, layer } = await withBlobs(registry);
    const large = imageOf(EMPTY, [layer], { annotations: { fill: 'x'.repeat(12_000_000) } });
    requireStatus(await registry.putManifest(repository, 'v1', large.bytes), 413);
    requireStatus(await registry.getManifest(repository, 'v1'), 404);
  }),
  must('Digest', 'a manifest is pushed and read by its sha512 digest', async (registry) => {
    const { repository, layer } = await withBlobs(registry);
    const manifest = imageOf(EMPTY, [layer]);
    const digest = sha512(manifest.bytes);
    const answer = await registry.putManifest(repository, digest, manifest.bytes);
    requireStatus(answer, 201);
    requireHeader(answer, 'docker-content-digest', digest);
    const read = await registry.getManifest(repository, digest);
    requireBytes(read, manifest.bytes);
    requireHeader(read, 'docker-content-digest', digest);
  }),
  must('end-7a', 'a repository keeps the config type of an artifact', async (registry) => {
    const { repository, layer } = await withBlobs(registry);
    const config = descriptorOf(EMPTY, 'application/vnd.cncf.flux.config.v1+json');
    await requireKept(registry, repository, imageOf(EMPTY, [layer], { config }), MEDIA.image);
  }),
];

/** Writing manifests (end-7a). */
const WRITE: readonly Case[] = [
  must('end-7a', 'the answer says where the manifest is and its digest', async (registry) => {
    const { repository, layer } = await withBlobs(registry);
    const manifest = imageOf(EMPTY, [layer]);
    const answer = await registry.putManifest(repository, 'v1', manifest.bytes);
    requireStatus(answer, 201);
    requireHeader(answer, 'docker-content-digest', manifest.digest);
    const headers = { accept: MEDIA.image };
    requireBytes(await registry.send('GET', locationOf(answer), { headers }), manifest.bytes);
  }),
  must('end-7a', 'a manifest that is pushed by digest has no tag', async (registry) => {
    const repository = registry.repository();
    const { manifest } = await registry.pushImage(repository);
    requireStatus(await registry.getManifest(repository, manifest.digest), 200);
    const tags = await registry.send('GET', `/v2/${repository}/tags/list`);
    requireStatus(tags, 200);
    require(!tags.body.toString().includes(manifest.digest), 'the digest is listed as a tag');
  }),
  must(
    'end-7a',
    'a tag moves to the manifest that was pushed last, and the other one stays',
    async (registry) => {
      const repository = registry.repository();
      const [one, two] = [
        await registry.pushImage(repository, 'v1'),
        await registry.pushImage(repository, 'v1'),
      ];
      requireHeader(
        await registry.getManifest(repository, 'v1'),
        'docker-content-digest',
        two.manifest.digest,
      );
      requireStatus(await registry.getManifest(repository, one.manifest.digest), 200);
    },
  ),
  must('end-7a', 'the same manifest may be pushed again and under another tag', async (registry) => {
    const repository = registry.repository();
    const { manifest } = await registry.pushImage(repository, 'v1');
    requireStatus(await registry.putManifest(repository, 'v1', manifest.bytes), 201);
    requireStatus(await registry.putManifest(repository, 'v2', manifest.bytes), 201);
    requireBytes(await registry.getManifest(repository, 'v2'), manifest.bytes);
  }),
  should('end-7a', 'parameters of the Content-Type are ignored', async (registry) => {
    const { repository, layer } = await withBlobs(registry);
    const manifest = imageOf(EMPTY, [layer]);
    const type = `${MEDIA.image}; charset=utf-8`;
    requireStatus(await registry.putManifest(repository, 'v1', manifest.bytes, type), 201);
    requireHeader(await registry.getManifest(repository, 'v1'), 'content-type', MEDIA.image);
  }),
  must('end-7a', 'a manifest of another digest than that in the path is 400', async (registry) => {
    const { repository, layer } = await withBlobs(registry);
    const { bytes } = imageOf(EMPTY, [layer]);
    requireStatus(await registry.putManifest(repository, ABSENT, bytes), 400);
    requireStatus(await registry.getManifest(repository, ABSENT), 404);
  }),
  ...['sha256:abc', `sha256:${'z'.repeat(64)}`, `foo:${'a'.repeat(64)}`].map((digest) =>
    must('end-7a', `a push by the malformed digest ${digest.slice(0, 12)} is 400`, async (registry) => {
      const { repository, layer } = await withBlobs(registry);
      requireStatus(await registry.putManifest(repository, digest, imageOf(EMPTY, [layer]).bytes), 400, 404);
    }),
  ),
  ...(['config', 'layer'] as const).map((what) =>
    must(
      'end-7a',
      `a manifest whose ${what} is not there is taken, or is MANIFEST_BLOB_UNKNOWN`,
      async (registry) => {
        const { repository, layer } = await withBlobs(registry);
        const absent = randomContent(50);
        const manifest = what === 'config' ? imageOf(absent, [layer]) : imageOf(EMPTY, [layer, absent]);
        const answer = await registry.putManifest(repository, 'v1', manifest.bytes);
        if (answer.status !== 201) requireError(answer, 'MANIFEST_BLOB_UNKNOWN');
      },
    ),
  ),
  must(
    'end-7a',
    'an index of a manifest that is not there is taken, or is MANIFEST_BLOB_UNKNOWN',
    async (registry) => {
      const repository = registry.repository();
      await registry.pushImage(repository);
      const answer = await registry.putManifest(repository, 'v1', indexOf([EMPTY]).bytes, MEDIA.index);
      if (answer.status !== 201) requireError(answer, 'MANIFEST_BLOB_UNKNOWN');
    },
  ),
  should(
    'end-7a',
    'a manifest that only another repository has the blobs of is not complete',
    async (registry) => {
      const { manifest } = await registry.pushImage(registry.repository());
      const other = registry.repository();
      await registry.pushBlob(other, randomContent(5));
      const answer = await registry.putManifest(other, 'v1', manifest.bytes);
      requireError(answer, 'MANIFEST_BLOB_UNKNOWN');
    },
  ),
  ...[
    ['no JSON', 'what?'],
    ['cut short', '{"schemaVersion":2,'],
    ['a list', '[]'],
    ['empty', ''],
  ].map(([what, body = '']) =>
    should('end-7a', `a manifest that is ${String(what)} is 400`, async (registry) => {
      const { repository } = await withBlobs(registry);
      requireStatus(await registry.putManifest(repository, 'v1', body), 400);
      requireStatus(await registry.getManifest(repository, 'v1'), 404);
    }),
  ),
  should('Error Codes', 'a manifest that is no JSON is MANIFEST_INVALID', async (registry) => {
    const { repository } = await withBlobs(registry);
    requireError(await registry.putManifest(repository, 'v1', 'what?'), 'MANIFEST_INVALID');
  }),
  should('image-spec, descriptors', 'a size that is not that of the blob is refused', async (registry) => {
    const { repository, layer } = await withBlobs(registry);
    const layers = [{ ...descriptorOf(layer, LAYER), size: 1 }];
    const answer = await registry.putManifest(repository, 'v1', imageOf(EMPTY, [], { layers }).bytes);
    requireStatus(answer, 400);
  }),
  should('image-spec, CVE-2021-41190', 'a manifest that is an index as well is refused', async (registry) => {
    const { repository, layer } = await withBlobs(registry);
    for (const mediaType of [MEDIA.image, MEDIA.index]) {
      const both = imageOf(EMPTY, [layer], { mediaType, manifests: [] });
      requireStatus(await registry.putManifest(repository, 'v1', both.bytes, mediaType), 400);
    }
  }),
  should(
    'image-spec, CVE-2021-41190',
    'a mediaType that is not the Content-Type is refused',
    async (registry) => {
      const { repository, layer } = await withBlobs(registry);
      const answer = await registry.putManifest(repository, 'v1', imageOf(EMPTY, [layer]).bytes, MEDIA.index);
      requireStatus(answer, 400, 415);
    },
  ),
];

/** Several tags in one push (end-7b). */
const TAG_PARAMETERS: readonly Case[] = [
  may('end-7b', 'a push by digest sets ten tags and names them', async (registry) => {
    const { repository, layer } = await withBlobs(registry);
    const manifest = imageOf(EMPTY, [layer]);
    const tags = Array.from({ length: 10 }, (_, index) => `t${index}`);
    const query = tags.map((tag) => `tag=${tag}`).join('&');
    const answer = await registry.putManifest(repository, `${manifest.digest}?${query}`, manifest.bytes);
    requireStatus(answer, 201);
    const header = answer.headers['oci-tag'];
    const named = (Array.isArray(header) ? header.join(',') : (header ?? ''))
      .split(',')
      .map((tag) => tag.trim());
    require(JSON.stringify(named.sort()) === JSON.stringify(tags), `OCI-Tag is ${named.join(', ')}`);
    for (const tag of tags) requireBytes(await registry.getManifest(repository, tag), manifest.bytes);
  }),
  may('end-7b', 'one malformed tag among others is 400, or no tag is named', async (registry) => {
    const { repository, layer } = await withBlobs(registry);
    const manifest = imageOf(EMPTY, [layer]);
    const reference = `${manifest.digest}?tag=good&tag=${encodeURIComponent('../bad')}`;
    const answer = await registry.putManifest(repository, reference, manifest.bytes);
    require(answer.status === 400 || answer.headers['oci-tag'] === undefined, 'a malformed tag was taken');
  }),
];

/** Parameters that change nothing. */
const QUERIES: readonly Case[] = [
  must('Registry Proxying', 'a registry that is no proxy serves whatever ns says', async (registry) => {
    const repository = registry.repository();
    const { manifest } = await registry.pushImage(repository, 'v1');
    const path = withQuery(`/v2/${repository}/manifests/v1`, { ns: 'docker.io' });
    requireBytes(await registry.send('GET', path, { headers: { accept: MEDIA.image } }), manifest.bytes);
  }),
];

/** Reading and writing manifests. */
export const MANIFESTS: readonly Case[] = [...READ, ...KINDS, ...WRITE, ...TAG_PARAMETERS, ...QUERIES];
