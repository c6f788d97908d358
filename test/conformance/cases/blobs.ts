import {
  type Case,
  may,
  must,
  require,
  requireBytes,
  requireError,
  requireHeader,
  requireStatus,
  should,
} from '../case.ts';
import { contentOf, randomContent } from '../content.ts';
import { type Registry, sha512 } from '../registry.ts';

const ABSENT = `sha256:${'ab'.repeat(32)}`;

/** A repository with one blob of `size` bytes. */
async function withBlob(registry: Registry, size: number) {
  const repository = registry.repository();
  const blob = randomContent(size);
  await registry.pushBlob(repository, blob);
  return { repository, blob, path: `/v2/${repository}/blobs/${blob.digest}` };
}

/** Reading blobs (end-2). */
export const BLOBS: readonly Case[] = [
  must('end-1', 'GET /v2/ says that the registry implements the specification', async (registry) => {
    requireStatus(await registry.send('GET', '/v2/'), 200);
  }),
  ...[0, 1, 5000, 3_000_000].map((size) =>
    must('end-2', `GET gives a blob of ${size} bytes back`, async (registry) => {
      const { path, blob } = await withBlob(registry, size);
      const answer = await registry.send('GET', path);
      requireStatus(answer, 200);
      requireBytes(answer, blob.bytes);
      requireHeader(answer, 'docker-content-digest', blob.digest);
    }),
  ),
  ...[0, 5000].map((size) =>
    must('end-2', `HEAD tells the size and the digest of a blob of ${size} bytes`, async (registry) => {
      const { path, blob } = await withBlob(registry, size);
      const answer = await registry.send('HEAD', path);
      requireStatus(answer, 200);
      requireHeader(answer, 'content-length', String(size));
      requireHeader(answer, 'docker-content-digest', blob.digest);
      require(answer.body.length === 0, 'an answer to HEAD has a body');
    }),
  ),
  must('end-2', 'a blob that is not there is 404', async (registry) => {
    const { repository } = await withBlob(registry, 10);
    for (const method of ['GET', 'HEAD'])
      requireStatus(await registry.send(method, `/v2/${repository}/blobs/${ABSENT}`), 404);
  }),
  must('end-2', 'a blob of a repository that is not there is 404', async (registry) => {
    requireStatus(await registry.send('GET', `/v2/${registry.repository()}/blobs/${ABSENT}`), 404);
  }),
  must('end-2', 'a blob is in the repositories that it was pushed to and no other', async (registry) => {
    const { blob } = await withBlob(registry, 10);
    const { repository } = await withBlob(registry, 10);
    for (const method of ['GET', 'HEAD'])
      requireStatus(await registry.send(method, `/v2/${repository}/blobs/${blob.digest}`), 404);
  }),
  should('Error Codes', 'a blob that is not there is BLOB_UNKNOWN', async (registry) => {
    const { repository } = await withBlob(registry, 10);
    requireError(await registry.send('GET', `/v2/${repository}/blobs/${ABSENT}`), 'BLOB_UNKNOWN');
  }),
  ...[
    'sha256:abc',
    `sha256:${'g'.repeat(64)}`,
    `md5:${'a'.repeat(32)}`,
    'sha256',
    `SHA256:${'a'.repeat(64)}`,
  ].map((digest) =>
    must('end-2', `the digest ${digest.slice(0, 16)} is 400 or 404`, async (registry) => {
      const { repository } = await withBlob(registry, 10);
      requireStatus(await registry.send('GET', `/v2/${repository}/blobs/${digest}`), 400, 404);
    }),
  ),
  must('Digest', 'a blob that was pushed as sha512 is read by it', async (registry) => {
    const repository = registry.repository();
    const blob = randomContent(5000);
    const digest = sha512(blob.bytes);
    await registry.pushBlob(repository, blob, digest);
    const answer = await registry.send('GET', `/v2/${repository}/blobs/${digest}`);
    requireStatus(answer, 200);
    requireBytes(answer, blob.bytes);
    requireHeader(answer, 'docker-content-digest', digest);
    requireHeader(
      await registry.send('HEAD', `/v2/${repository}/blobs/${digest}`),
      'docker-content-digest',
      digest,
    );
  }),
  should('RFC 9110, 15.5.6', 'a method that a blob does not have is 405 with Allow', async (registry) => {
    const { path } = await withBlob(registry, 10);
    const answer = await registry.send('PATCH', path);
    requireStatus(answer, 405);
    require(answer.headers.allow?.includes('GET') === true, 'Allow does not name GET');
  }),
];

const SIZE = 5000;
/** Range, first byte and end of what is right. */
const RANGES: readonly (readonly [string, number, number])[] = [
  ['bytes=500-1499', 500, 1500],
  ['bytes=0-0', 0, 1],
  ['bytes=4999-4999', 4999, 5000],
  ['bytes=500-', 500, 5000],
  ['bytes=-500', 4500, 5000],
  ['bytes=2000-9000', 2000, 5000],
  ['bytes=-9000', 0, 5000],
];

function range(source: string, header: string, [start, end]: readonly [number, number]): Case {
  return should(source, `Range ${header} is 206 with those bytes`, async (registry) => {
    const { path, blob } = await withBlob(registry, SIZE);
    const answer = await registry.send('GET', path, { headers: { range: header } });
    requireStatus(answer, 206);
    requireBytes(answer, blob.bytes.subarray(start, end));
    requireHeader(answer, 'content-range', `bytes ${start}-${end - 1}/${SIZE}`);
    requireHeader(answer, 'content-length', String(end - start));
  });
}

/** An answer to several ranges: all of it, or the parts, each with the right bytes; never more. */
async function requireParts(registry: Registry, header: string): Promise<void> {
  const { path, blob } = await withBlob(registry, SIZE);
  const answer = await registry.send('GET', path, { headers: { range: header } });
  requireStatus(answer, 200, 206, 416);
  if (answer.status === 200) requireBytes(answer, blob.bytes);
  require(answer.body.length < SIZE * 4, `${answer.body.length} bytes of a blob of ${SIZE}`);
}

/** Ranges (end-2, RFC 9110 14). */
export const RANGE_REQUESTS: readonly Case[] = [
  ...RANGES.map(([header, start, end]) => range('end-2', header, [start, end])),
  ...['bytes=5000-', 'bytes=5000-10000', 'bytes=-0'].map((header) =>
    should('end-2', `Range ${header} is 416, with the size`, async (registry) => {
      const { path } = await withBlob(registry, SIZE);
      const answer = await registry.send('GET', path, { headers: { range: header } });
      requireStatus(answer, 416);
      requireHeader(answer, 'content-range', `bytes */${SIZE}`);
    }),
  ),
  must('RFC 9110, 14.1.1', 'a range that ends before it begins is no part of a blob', async (registry) => {
    const { path, blob } = await withBlob(registry, SIZE);
    const answer = await registry.send('GET', path, { headers: { range: 'bytes=500-0' } });
    requireStatus(answer, 416, 400, 200);
    if (answer.status === 200) requireBytes(answer, blob.bytes);
  }),
  must('RFC 9110, 14.2', 'a range of another unit is ignored', async (registry) => {
    const { path, blob } = await withBlob(registry, SIZE);
    const answer = await registry.send('GET', path, { headers: { range: 'lines=0-1' } });
    requireStatus(answer, 200);
    requireBytes(answer, blob.bytes);
  }),
  must('RFC 9110, 14.2', 'two ranges are parts, or all, or refused', async (registry) => {
    await requireParts(registry, 'bytes=0-1,3-4');
  }),
  should(
    'RFC 9110, 14.2',
    'many overlapping ranges do not make an answer larger than the blob',
    async (registry) => {
      await requireParts(registry, `bytes=${Array.from({ length: 300 }, () => '0-').join(',')}`);
    },
  ),
  must('RFC 9110, 14.2', 'a HEAD has no range', async (registry) => {
    const { path } = await withBlob(registry, SIZE);
    const answer = await registry.send('HEAD', path, { headers: { range: 'bytes=0-9' } });
    requireStatus(answer, 200);
    requireHeader(answer, 'content-length', String(SIZE));
  }),
  should('RFC 9110, 14.3', 'Accept-Ranges says that ranges are served', async (registry) => {
    const { path } = await withBlob(registry, SIZE);
    requireHeader(await registry.send('HEAD', path), 'accept-ranges', 'bytes');
  }),
  should('RFC 9110, 13.1.5', 'If-Range with the entity tag gives the range', async (registry) => {
    const { path, blob } = await withBlob(registry, SIZE);
    const { etag = '' } = (await registry.send('GET', path)).headers;
    const headers = { range: 'bytes=10-19', 'if-range': etag };
    const answer = await registry.send('GET', path, { headers });
    requireStatus(answer, 206);
    requireBytes(answer, blob.bytes.subarray(10, 20));
  }),
  ...['"other"', 'Sat, 29 Oct 1994 19:43:31 GMT', 'W/"weak"'].map((validator) =>
    must(
      'RFC 9110, 13.1.5',
      `If-Range ${validator} that does not match gives all of it`,
      async (registry) => {
        const { path, blob } = await withBlob(registry, SIZE);
        const headers = { range: 'bytes=10-19', 'if-range': validator };
        const answer = await registry.send('GET', path, { headers });
        requireStatus(answer, 200);
        requireBytes(answer, blob.bytes);
      },
    ),
  ),
];

const CONDITIONS = [
  (etag: string) => etag,
  (etag: string) => `"other", ${etag}`,
  (etag: string) => `W/${etag}`,
  () => '*',
] as const;

/** Entity tags of blobs and manifests (RFC 9110 8.8.3, 13.1.2). */
export const CONDITIONAL: readonly Case[] = (['blob', 'manifest'] as const).flatMap((kind) => {
  const path = async (registry: Registry): Promise<string> => {
    const repository = registry.repository();
    const { layer } = await registry.pushImage(repository, 'v1');
    return kind === 'blob' ? `/v2/${repository}/blobs/${layer.digest}` : `/v2/${repository}/manifests/v1`;
  };
  const accept = 'application/vnd.oci.image.manifest.v1+json';
  return [
    should('RFC 9110, 8.8.3', `a ${kind} has a strong entity tag`, async (registry) => {
      const { etag = '' } = (await registry.send('GET', await path(registry), { headers: { accept } }))
        .headers;
      require(/^"[^"]+"$/.test(etag), `ETag is ${etag}`);
    }),
    ...CONDITIONS.map((condition) =>
      should(
        'RFC 9110, 13.1.2',
        `If-None-Match ${condition('"tag"')} of a ${kind} is 304`,
        async (registry) => {
          const at = await path(registry);
          const { etag = '' } = (await registry.send('GET', at, { headers: { accept } })).headers;
          const answer = await registry.send('GET', at, {
            headers: { accept, 'if-none-match': condition(etag) },
          });
          requireStatus(answer, 304);
          require(answer.body.length === 0, 'an answer 304 has a body');
        },
      ),
    ),
    must('RFC 9110, 13.1.2', `If-None-Match with another entity tag gives the ${kind}`, async (registry) => {
      const headers = { accept, 'if-none-match': '"other"' };
      const answer = await registry.send('GET', await path(registry), { headers });
      requireStatus(answer, 200);
      require(answer.body.length > 0, 'the body is empty');
    }),
  ];
});

/** Deleting blobs (end-10). */
export const BLOB_DELETION: readonly Case[] = [
  must('end-10', 'a deleted blob is 404, and again', async (registry) => {
    const { path } = await withBlob(registry, 10);
    requireStatus(await registry.send('DELETE', path), 202);
    requireStatus(await registry.send('GET', path), 404);
    requireStatus(await registry.send('HEAD', path), 404);
    requireStatus(await registry.send('DELETE', path), 404);
  }),
  must('end-10', 'a blob that was never there is 404', async (registry) => {
    const { repository } = await withBlob(registry, 10);
    requireStatus(await registry.send('DELETE', `/v2/${repository}/blobs/${ABSENT}`), 404);
  }),
  must('end-10', 'a deletion leaves the blob to other repositories', async (registry) => {
    const { path, blob } = await withBlob(registry, 10);
    const other = registry.repository();
    await registry.pushBlob(other, blob);
    requireStatus(await registry.send('DELETE', path), 202);
    const answer = await registry.send('GET', `/v2/${other}/blobs/${blob.digest}`);
    requireStatus(answer, 200);
    requireBytes(answer, blob.bytes);
    requireStatus(await registry.send('GET', path), 404);
  }),
  must('end-10', 'a deleted blob can be pushed again', async (registry) => {
    const { path, repository, blob } = await withBlob(registry, 1000);
    requireStatus(await registry.send('DELETE', path), 202);
    await registry.pushBlob(repository, blob);
    requireBytes(await registry.send('GET', path), blob.bytes);
  }),
  must('end-10', 'a sha512 blob is deleted by that digest', async (registry) => {
    const repository = registry.repository();
    const blob = contentOf('to be deleted');
    const digest = sha512(blob.bytes);
    await registry.pushBlob(repository, blob, digest);
    requireStatus(await registry.send('DELETE', `/v2/${repository}/blobs/${digest}`), 202);
    requireStatus(await registry.send('GET', `/v2/${repository}/blobs/${digest}`), 404);
  }),
  may('end-10', 'a malformed digest is not 5xx', async (registry) => {
    const { repository } = await withBlob(registry, 10);
    requireStatus(await registry.send('DELETE', `/v2/${repository}/blobs/sha256:xyz`), 400, 404, 405);
  }),
];
