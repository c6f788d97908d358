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
import { type Content, contentOf, randomContent } from '../content.ts';
import { type Answer, type Registry, sha512, withQuery } from '../registry.ts';

function patch(registry: Registry, location: string, bytes: Buffer, start: number): Promise<Answer> {
  return registry.send('PATCH', location, { headers: chunkHeaders(bytes, start), body: bytes });
}

function chunkHeaders(bytes: Buffer, start: number): Record<string, string> {
  return {
    'content-type': 'application/octet-stream',
    'content-range': `${start}-${start + bytes.length - 1}`,
  };
}

function put(registry: Registry, location: string, digest: string, body?: Buffer): Promise<Answer> {
  const headers = { 'content-type': 'application/octet-stream' };
  return registry.send('PUT', withQuery(location, { digest }), body === undefined ? {} : { headers, body });
}

/** That a push was acknowledged, and that what it says is the blob. */
async function requireCreated(registry: Registry, answer: Answer, content: Content): Promise<void> {
  requireStatus(answer, 201);
  const read = await registry.send('GET', locationOf(answer));
  requireStatus(read, 200);
  requireBytes(read, content.bytes);
}

const MISSING = '00000000-0000-4000-8000-000000000000';

/** Whole blobs in one or two requests (end-4, end-6). */
const MONOLITHIC: readonly Case[] = [
  must('end-4a', 'POST begins an upload and says where', async (registry) => {
    const answer = await registry.send('POST', `/v2/${registry.repository()}/blobs/uploads/`);
    requireStatus(answer, 202);
    locationOf(answer);
  }),
  must('end-4a', 'each upload has a location of its own', async (registry) => {
    const repository = registry.repository();
    const locations = await Promise.all(Array.from({ length: 5 }, () => registry.begin(repository)));
    require(new Set(locations).size === 5, 'two uploads have one location');
  }),
  ...[0, 1, 5000, 3_000_000].map((size) =>
    must('end-6', `POST and PUT store a blob of ${size} bytes`, async (registry) => {
      const repository = registry.repository();
      const blob = randomContent(size);
      const location = await registry.begin(repository);
      await requireCreated(registry, await put(registry, location, blob.digest, blob.bytes), blob);
    }),
  ),
  must('end-6', 'the answer to the PUT names the digest', async (registry) => {
    const blob = randomContent(100);
    const answer = await put(registry, await registry.begin(registry.repository()), blob.digest, blob.bytes);
    requireHeader(answer, 'docker-content-digest', blob.digest);
  }),
  may('end-4b', 'one POST stores a blob, or begins an upload', async (registry) => {
    const repository = registry.repository();
    const blob = randomContent(500);
    const path = withQuery(`/v2/${repository}/blobs/uploads/`, { digest: blob.digest });
    const answer = await registry.send('POST', path, { body: blob.bytes });
    requireStatus(answer, 201, 202);
    if (answer.status === 201) await requireCreated(registry, answer, blob);
    else
      await requireCreated(registry, await put(registry, locationOf(answer), blob.digest, blob.bytes), blob);
  }),
  should('end-4b', 'one POST with the bytes of another digest is 400', async (registry) => {
    const repository = registry.repository();
    const { digest } = randomContent(500);
    const path = withQuery(`/v2/${repository}/blobs/uploads/`, { digest });
    const answer = await registry.send('POST', path, { body: Buffer.from('something else') });
    requireStatus(answer, 400, 202);
    requireStatus(await registry.send('GET', `/v2/${repository}/blobs/${digest}`), 404);
  }),
  ...['sha256', 'sha512'].map((algorithm) =>
    should('end-4c', `an upload that is announced as ${algorithm} becomes such a blob`, async (registry) => {
      const repository = registry.repository();
      const blob = randomContent(700);
      const digest = algorithm === 'sha256' ? blob.digest : sha512(blob.bytes);
      const location = await registry.begin(repository, `?digest-algorithm=${algorithm}`);
      const answer = await put(registry, location, digest, blob.bytes);
      requireStatus(answer, 201);
      requireHeader(
        await registry.send('HEAD', `/v2/${repository}/blobs/${digest}`),
        'docker-content-digest',
        digest,
      );
    }),
  ),
  should('end-4c', 'an algorithm that nobody knows is 400', async (registry) => {
    const path = `/v2/${registry.repository()}/blobs/uploads/?digest-algorithm=md5`;
    requireStatus(await registry.send('POST', path), 400);
  }),
  should('Digest', 'a sha512 blob needs no announcement', async (registry) => {
    const repository = registry.repository();
    const blob = randomContent(700);
    const digest = sha512(blob.bytes);
    requireStatus(await put(registry, await registry.begin(repository), digest, blob.bytes), 201);
    const answer = await registry.send('GET', `/v2/${repository}/blobs/${digest}`);
    requireBytes(answer, blob.bytes);
  }),
  must('end-6', 'a body without a length is stored', async (registry) => {
    const repository = registry.repository();
    const blob = randomContent(100_000);
    const location = withQuery(await registry.begin(repository), { digest: blob.digest });
    const body = [blob.bytes.subarray(0, 40_000), blob.bytes.subarray(40_000)];
    const answer = await registry.send('PUT', location, { body });
    await requireCreated(registry, answer, blob);
  }),
  must('end-6', 'a blob that is there already can be pushed', async (registry) => {
    const repository = registry.repository();
    const blob = randomContent(100);
    await registry.pushBlob(repository, blob);
    const location = await registry.begin(repository);
    await requireCreated(registry, await put(registry, location, blob.digest, blob.bytes), blob);
  }),
  must('end-6', 'many clients push the same blob at once', async (registry) => {
    const repository = registry.repository();
    const blob = randomContent(50_000);
    await Promise.all(Array.from({ length: 12 }, () => registry.pushBlob(repository, blob)));
    requireBytes(await registry.send('GET', `/v2/${repository}/blobs/${blob.digest}`), blob.bytes);
  }),
];

const WRONG_DIGESTS: readonly (readonly [string, (blob: Content) => string])[] = [
  ['of other bytes', () => contentOf('other').digest],
  ['of other bytes by sha512', () => sha512(Buffer.from('other'))],
  ['that is empty', () => ''],
  ['that is too short', () => 'sha256:abc'],
  ['in upper case', (blob) => blob.digest.toUpperCase().replace('SHA256', 'sha256')],
  ['of an unknown algorithm', () => `md5:${'a'.repeat(32)}`],
  ['without an algorithm', (blob) => blob.digest.slice('sha256:'.length)],
];

/** What a PUT must not store. */
const REFUSED: readonly Case[] = [
  ...WRONG_DIGESTS.map(([what, digest]) =>
    should('end-6', `a PUT with a digest ${what} is 400`, async (registry) => {
      const blob = contentOf(`${Math.random()}ABC`);
      const location = await registry.begin(registry.repository());
      requireStatus(await put(registry, location, digest(blob), blob.bytes), 400);
    }),
  ),
  must('end-6', 'bytes of another digest are not stored', async (registry) => {
    const repository = registry.repository();
    const [blob, other] = [randomContent(100), randomContent(100)];
    const location = await registry.begin(repository);
    requireStatus(await put(registry, location, other.digest, blob.bytes), 400);
    for (const { digest } of [blob, other])
      requireStatus(await registry.send('GET', `/v2/${repository}/blobs/${digest}`), 404);
  }),
  should('Error Codes', 'bytes of another digest are DIGEST_INVALID', async (registry) => {
    const location = await registry.begin(registry.repository());
    requireError(await put(registry, location, randomContent(10).digest, Buffer.from('x')), 'DIGEST_INVALID');
  }),
  must('end-6', 'a PUT without a digest is 400', async (registry) => {
    const location = await registry.begin(registry.repository());
    requireStatus(await registry.send('PUT', location, { body: Buffer.from('x') }), 400);
  }),
  must('end-6', 'a PUT without the bytes is 400', async (registry) => {
    const location = await registry.begin(registry.repository());
    requireStatus(await put(registry, location, randomContent(10).digest), 400);
  }),
];

async function chunked(registry: Registry, sizes: readonly number[], digestOf: (blob: Content) => string) {
  const repository = registry.repository();
  const blob = randomContent(sizes.reduce((sum, size) => sum + size, 0));
  const digest = digestOf(blob);
  let location = await registry.begin(
    repository,
    digest.startsWith('sha512') ? '?digest-algorithm=sha512' : '',
  );
  let start = 0;
  for (const size of sizes) {
    const answer = await patch(registry, location, blob.bytes.subarray(start, start + size), start);
    start += size;
    requireStatus(answer, 202);
    requireHeader(answer, 'range', `0-${start - 1}`);
    location = locationOf(answer);
  }
  const answer = await put(registry, location, digest);
  requireStatus(answer, 201);
  requireBytes(await registry.send('GET', `/v2/${repository}/blobs/${digest}`), blob.bytes);
}

/** An upload that has 100 of the 300 bytes of a blob. */
async function begun(registry: Registry) {
  const repository = registry.repository();
  const blob = randomContent(300);
  const answer = await patch(registry, await registry.begin(repository), blob.bytes.subarray(0, 100), 0);
  requireStatus(answer, 202);
  return { repository, blob, location: locationOf(answer) };
}

async function finish(registry: Registry, { repository, blob, location }: Awaited<ReturnType<typeof begun>>) {
  const status = await registry.send('GET', location);
  requireStatus(status, 204);
  requireHeader(status, 'range', '0-99');
  const sent = await patch(registry, locationOf(status), blob.bytes.subarray(100), 100);
  requireStatus(sent, 202);
  requireStatus(await put(registry, locationOf(sent), blob.digest), 201);
  requireBytes(await registry.send('GET', `/v2/${repository}/blobs/${blob.digest}`), blob.bytes);
}

/** Name, first byte, last byte of a chunk that is not the next. */
const OUT_OF_ORDER: readonly (readonly [string, number, number])[] = [
  ['that leaves a gap', 150, 200],
  ['that was sent before', 0, 100],
  ['that overlaps', 50, 150],
  ['that starts one byte early', 99, 199],
  ['that starts one byte late', 101, 201],
];

/** Chunks (end-5, end-13). */
const CHUNKS: readonly Case[] = [
  ...[[5000], [1, 1, 1], [1000, 500, 3500], [700_000, 700_000]].map((sizes) =>
    must('end-5', `chunks of ${sizes.join(', ')} bytes make a blob`, (registry) =>
      chunked(registry, sizes, ({ digest }) => digest),
    ),
  ),
  must('end-5', 'chunks make a blob of a sha512 digest', (registry) =>
    chunked(registry, [1000, 2000], ({ bytes }) => sha512(bytes)),
  ),
  must('end-5', 'a chunk without Content-Range goes to the end', async (registry) => {
    const repository = registry.repository();
    const blob = randomContent(200_000);
    const [half, rest] = [blob.bytes.subarray(0, 100_000), blob.bytes.subarray(100_000)];
    const first = await registry.send('PATCH', await registry.begin(repository), { body: [half] });
    requireStatus(first, 202);
    const second = await registry.send('PATCH', locationOf(first), { body: rest });
    requireStatus(second, 202);
    await requireCreated(registry, await put(registry, locationOf(second), blob.digest), blob);
  }),
  must('end-6', 'the last chunk may come in the PUT', async (registry) => {
    const { blob, location } = await begun(registry);
    const rest = blob.bytes.subarray(100);
    const headers = chunkHeaders(rest, 100);
    const answer = await registry.send('PUT', withQuery(location, { digest: blob.digest }), {
      headers,
      body: rest,
    });
    await requireCreated(registry, answer, blob);
  }),
  must('end-13', 'GET says how far an upload has come', async (registry) => {
    const upload = await begun(registry);
    await finish(registry, upload);
  }),
  ...OUT_OF_ORDER.map(([what, start, end]) =>
    must('end-5', `a PATCH ${what} is 416, and the upload goes on`, async (registry) => {
      const upload = await begun(registry);
      const bytes = upload.blob.bytes.subarray(start, end);
      requireStatus(await patch(registry, upload.location, bytes, start), 416);
      await finish(registry, upload);
    }),
  ),
  must('end-6', 'a last chunk out of order is 416, and the upload goes on', async (registry) => {
    const upload = await begun(registry);
    const bytes = upload.blob.bytes.subarray(200);
    const path = withQuery(upload.location, { digest: upload.blob.digest });
    requireStatus(await registry.send('PUT', path, { headers: chunkHeaders(bytes, 200), body: bytes }), 416);
    await finish(registry, upload);
  }),
  must('end-5', 'a first chunk that does not begin at 0 is 416', async (registry) => {
    const location = await registry.begin(registry.repository());
    requireStatus(await patch(registry, location, Buffer.from('abc'), 1), 416);
  }),
  should('end-5', 'a Content-Range that is longer than the body is refused', async (registry) => {
    const location = await registry.begin(registry.repository());
    const headers = { 'content-range': '0-999' };
    requireStatus(await registry.send('PATCH', location, { headers, body: Buffer.from('abc') }), 400, 416);
  }),
  should('end-5', 'a Content-Range that cannot be read is refused', async (registry) => {
    const location = await registry.begin(registry.repository());
    const headers = { 'content-range': 'all of it' };
    requireStatus(await registry.send('PATCH', location, { headers, body: Buffer.from('abc') }), 400, 416);
  }),
  must('end-5', 'two uploads to one repository do not mix', async (registry) => {
    const [one, two] = [await begun(registry), await begun(registry)];
    await Promise.all([finish(registry, one), finish(registry, two)]);
  }),
];

const METHODS = ['GET', 'PATCH', 'PUT', 'DELETE'] as const;

function touch(registry: Registry, method: string, location: string): Promise<Answer> {
  const path = method === 'PUT' ? withQuery(location, { digest: contentOf('x').digest }) : location;
  const body = method === 'PATCH' || method === 'PUT' ? { body: Buffer.from('x') } : {};
  return registry.send(method, path, body);
}

/** Uploads that are over, cancelled or were never begun (end-13, end-14). */
const SESSIONS: readonly Case[] = [
  should('end-14', 'DELETE cancels an upload', async (registry) => {
    const { location } = await begun(registry);
    requireStatus(await registry.send('DELETE', location), 204);
    requireStatus(await registry.send('GET', location), 404, 400);
    requireStatus(await touch(registry, 'PATCH', location), 404, 400);
  }),
  ...METHODS.map((method) =>
    must('end-13', `${method} of an upload that was never begun is 404`, async (registry) => {
      const { repository } = await begun(registry);
      requireStatus(await touch(registry, method, `/v2/${repository}/blobs/uploads/${MISSING}`), 404, 400);
    }),
  ),
  should('Error Codes', 'an upload that was never begun is BLOB_UPLOAD_UNKNOWN', async (registry) => {
    const { repository } = await begun(registry);
    const answer = await registry.send('GET', `/v2/${repository}/blobs/uploads/${MISSING}`);
    requireError(answer, 'BLOB_UPLOAD_UNKNOWN');
  }),
  ...METHODS.map((method) =>
    must('end-6', `${method} of an upload that was finished is 404`, async (registry) => {
      const blob = randomContent(10);
      const location = await registry.begin(registry.repository());
      requireStatus(await put(registry, location, blob.digest, blob.bytes), 201);
      requireStatus(await touch(registry, method, location), 404, 400);
    }),
  ),
  must('end-13', 'an upload belongs to its repository', async (registry) => {
    const { repository, location } = await begun(registry);
    const other = registry.repository();
    await registry.pushBlob(other, randomContent(5));
    const moved = location.replace(repository, other);
    require(moved !== location, 'the location does not name the repository');
    requireStatus(await registry.send('GET', moved), 404, 400);
  }),
];

/** Mounting blobs of other repositories (end-11). */
const MOUNTS: readonly Case[] = [
  ...(['sha256', 'sha512'] as const).map((algorithm) =>
    must('end-11', `a ${algorithm} blob is mounted, or an upload begins`, async (registry) => {
      const [source, target] = [registry.repository(), registry.repository()];
      const blob = randomContent(1000);
      const digest = algorithm === 'sha256' ? blob.digest : sha512(blob.bytes);
      await registry.pushBlob(source, blob, digest);
      const path = withQuery(`/v2/${target}/blobs/uploads/`, { mount: digest, from: source });
      const answer = await registry.send('POST', path);
      requireStatus(answer, 201, 202);
      if (answer.status === 201) await requireCreated(registry, answer, blob);
      else locationOf(answer);
    }),
  ),
  should('end-11', 'a mounted blob stays when the source loses it', async (registry) => {
    const [source, target] = [registry.repository(), registry.repository()];
    const blob = randomContent(1000);
    await registry.pushBlob(source, blob);
    const path = withQuery(`/v2/${target}/blobs/uploads/`, { mount: blob.digest, from: source });
    requireStatus(await registry.send('POST', path), 201);
    requireStatus(await registry.send('DELETE', `/v2/${source}/blobs/${blob.digest}`), 202);
    requireBytes(await registry.send('GET', `/v2/${target}/blobs/${blob.digest}`), blob.bytes);
  }),
  should('end-11', 'a blob that the source does not have becomes an upload', async (registry) => {
    const [source, target] = [registry.repository(), registry.repository()];
    await registry.pushBlob(source, randomContent(5));
    const blob = randomContent(100);
    const path = withQuery(`/v2/${target}/blobs/uploads/`, { mount: blob.digest, from: source });
    const answer = await registry.send('POST', path);
    requireStatus(answer, 202);
    await requireCreated(registry, await put(registry, locationOf(answer), blob.digest, blob.bytes), blob);
  }),
  should('end-11', 'a source that is not there becomes an upload', async (registry) => {
    const query = { mount: randomContent(1).digest, from: registry.repository() };
    const answer = await registry.send(
      'POST',
      withQuery(`/v2/${registry.repository()}/blobs/uploads/`, query),
    );
    requireStatus(answer, 202);
    locationOf(answer);
  }),
  may('end-11', 'without a source the blob is found, or an upload begins', async (registry) => {
    const [source, target] = [registry.repository(), registry.repository()];
    const blob = randomContent(1000);
    await registry.pushBlob(source, blob);
    const answer = await registry.send(
      'POST',
      withQuery(`/v2/${target}/blobs/uploads/`, { mount: blob.digest }),
    );
    requireStatus(answer, 201, 202);
    if (answer.status === 201) await requireCreated(registry, answer, blob);
  }),
  should('Digest', 'a mount of a malformed digest is 400', async (registry) => {
    const query = { mount: 'sha256:xyz', from: registry.repository() };
    const answer = await registry.send(
      'POST',
      withQuery(`/v2/${registry.repository()}/blobs/uploads/`, query),
    );
    requireStatus(answer, 400, 202);
  }),
];

/** Everything on writing blobs. */
export const UPLOADS: readonly Case[] = [...MONOLITHIC, ...REFUSED, ...CHUNKS, ...SESSIONS, ...MOUNTS];
