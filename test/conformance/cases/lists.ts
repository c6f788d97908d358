import {
  type Case,
  jsonOf,
  may,
  must,
  nextOf,
  require,
  requireError,
  requireHeader,
  requireStatus,
  should,
} from '../case.ts';
import {
  CONFIG,
  type Content,
  contentOf,
  descriptorOf,
  imageOf,
  indexOf,
  MEDIA,
  randomContent,
} from '../content.ts';
import { type Answer, type Registry, sha512, withQuery } from '../registry.ts';

/** The order of the specification, and not that of a language. */
const TAGS = ['1.0', '2', 'A', 'B', '_x', 'a', 'b', 'latest', 'z'];

async function withTags(registry: Registry): Promise<string> {
  const repository = registry.repository();
  const { manifest } = await registry.pushImage(repository);
  for (const tag of TAGS.toReversed()) await registry.pushManifest(repository, manifest, MEDIA.image, tag);
  return repository;
}

function tagsOf(answer: Answer): string[] {
  requireStatus(answer, 200);
  const { tags } = jsonOf(answer) as { tags?: string[] | null };
  return tags ?? [];
}

function same(actual: readonly string[], expected: readonly string[]): void {
  require(JSON.stringify(actual) ===
    JSON.stringify(expected), `${actual.join(' ')}, not ${expected.join(' ')}`);
}

/** Pages of tags: parameters and what is right. */
const PAGES: readonly (readonly [Record<string, string>, readonly string[]])[] = [
  [{ n: '0' }, []],
  [{ n: '1' }, TAGS.slice(0, 1)],
  [{ n: '4' }, TAGS.slice(0, 4)],
  [{ n: '1000' }, TAGS],
  [{ n: '3', last: 'A' }, TAGS.slice(3, 6)],
  [{ last: 'B' }, TAGS.slice(4)],
  [{ last: 'z' }, []],
  [{ n: '2', last: 'AA' }, TAGS.slice(3, 5)],
];

/** Listing tags (end-8). */
export const TAG_LISTS: readonly Case[] = [
  must('end-8a', 'tags are listed in order, with the name', async (registry) => {
    const repository = await withTags(registry);
    const answer = await registry.send('GET', `/v2/${repository}/tags/list`);
    const listed = tagsOf(answer);
    const { name } = jsonOf(answer) as { name: string };
    require(name === repository, `the name is ${name}`);
    const lexical = TAGS.toSorted((one, two) => one.toLowerCase().localeCompare(two.toLowerCase()));
    if (JSON.stringify(listed) !== JSON.stringify(lexical)) same(listed, TAGS);
  }),
  ...PAGES.map(([query, expected]) =>
    must(
      'end-8b',
      `tags of ${new URLSearchParams(query).toString()} are the right ones`,
      async (registry) => {
        const repository = await withTags(registry);
        const answer = await registry.send('GET', withQuery(`/v2/${repository}/tags/list`, query));
        same(tagsOf(answer), expected);
        if (query['n'] === '0') require(answer.headers.link === undefined, 'there is a Link');
      },
    ),
  ),
  may('end-8b', 'Link leads through all tags', async (registry) => {
    const repository = await withTags(registry);
    const seen: string[] = [];
    let path: string | undefined = `/v2/${repository}/tags/list?n=2`;
    for (let page = 0; path !== undefined; page += 1) {
      require(page < 10, 'there is no end');
      const answer = await registry.send('GET', path);
      seen.push(...tagsOf(answer));
      path = nextOf(answer);
    }
    same(seen, TAGS);
  }),
  ...['-1', 'abc', '99999999999', '1e3', '99999999999999999999999'].map((n) =>
    must('end-8b', `n=${n} is bounded or refused, never 5xx`, async (registry) => {
      const repository = await withTags(registry);
      const answer = await registry.send('GET', withQuery(`/v2/${repository}/tags/list`, { n }));
      requireStatus(answer, 200, 400);
    }),
  ),
  must('end-8a', 'the tags of a repository that is not there are 404', async (registry) => {
    requireStatus(await registry.send('GET', `/v2/${registry.repository()}/tags/list`), 404, 200);
  }),
  should('Error Codes', 'a repository that is not there is NAME_UNKNOWN', async (registry) => {
    const answer = await registry.send('GET', `/v2/${registry.repository()}/tags/list`);
    if (answer.status !== 200) requireError(answer, 'NAME_UNKNOWN');
  }),
];

const SIGNATURE = 'application/vnd.example.signature';
const SBOM = 'application/vnd.example.sbom';
const EMPTY = contentOf('{}');

interface Descriptor {
  readonly digest: string;
  readonly size: number;
  readonly mediaType: string;
  readonly artifactType?: string;
  readonly annotations?: Record<string, string>;
}

function subjectOf(content: Content, digest = content.digest): object {
  return { ...descriptorOf(content, MEDIA.image), digest };
}

/** Pushes an artifact that refers to `subject`. */
async function attach(registry: Registry, repository: string, subject: object, extra: object = {}) {
  const layer = randomContent(20);
  await registry.pushBlob(repository, EMPTY);
  await registry.pushBlob(repository, layer);
  const artifact = imageOf(EMPTY, [layer], { artifactType: SIGNATURE, subject, ...extra });
  const answer = await registry.pushManifest(repository, artifact, MEDIA.image);
  return { artifact, answer };
}

async function referrers(
  registry: Registry,
  repository: string,
  digest: string,
  query: Record<string, string> = {},
) {
  const answer = await registry.send('GET', withQuery(`/v2/${repository}/referrers/${digest}`, query));
  requireStatus(answer, 200);
  requireHeader(answer, 'content-type', MEDIA.index);
  const index = jsonOf(answer) as { schemaVersion: number; mediaType: string; manifests: Descriptor[] };
  require(index.schemaVersion === 2 && index.mediaType === MEDIA.index, 'it is no image index');
  require(Array.isArray(index.manifests), 'manifests is no list');
  return { answer, manifests: index.manifests };
}

function requireListed(manifests: readonly Descriptor[], ...expected: readonly Content[]): void {
  same(manifests.map(({ digest }) => digest).sort(), expected.map(({ digest }) => digest).sort());
}

/** What refers to a manifest (end-12). */
export const REFERRERS: readonly Case[] = [
  must('end-12a', 'a manifest without referrers has an empty list', async (registry) => {
    const repository = registry.repository();
    const { manifest } = await registry.pushImage(repository, 'v1');
    requireListed((await referrers(registry, repository, manifest.digest)).manifests);
  }),
  must('end-12a', 'a repository that is not there has an empty list', async (registry) => {
    requireListed((await referrers(registry, registry.repository(), EMPTY.digest)).manifests);
  }),
  ...['sha256:abc', 'latest', `sha256:${'z'.repeat(64)}`].map((digest) =>
    must('end-12a', `the malformed digest ${digest.slice(0, 12)} is 400`, async (registry) => {
      const repository = registry.repository();
      await registry.pushImage(repository, 'v1');
      requireStatus(await registry.send('GET', `/v2/${repository}/referrers/${digest}`), 400);
    }),
  ),
  must(
    'end-12a',
    'a referrer is listed with its type, size, artifact type and annotations',
    async (registry) => {
      const repository = registry.repository();
      const { manifest } = await registry.pushImage(repository, 'v1');
      const annotations = { 'org.example.key': 'ä "value"' };
      const { artifact } = await attach(registry, repository, subjectOf(manifest), { annotations });
      const [listed] = (await referrers(registry, repository, manifest.digest)).manifests;
      require(listed?.digest === artifact.digest, `listed is ${String(listed?.digest)}`);
      require(listed.size === artifact.bytes.length, `the size is ${listed.size}`);
      require(listed.mediaType === MEDIA.image, `the type is ${listed.mediaType}`);
      require(listed.artifactType === SIGNATURE, `the artifact type is ${String(listed.artifactType)}`);
      require(JSON.stringify(listed.annotations) ===
        JSON.stringify(annotations), 'the annotations are others');
    },
  ),
  must('Pushing Manifests with Subject', 'OCI-Subject says that the subject was seen', async (registry) => {
    const repository = registry.repository();
    const { manifest } = await registry.pushImage(repository, 'v1');
    const { answer } = await attach(registry, repository, subjectOf(manifest));
    requireHeader(answer, 'oci-subject', manifest.digest);
  }),
  must('Pushing Manifests with Subject', 'a push without a subject has no OCI-Subject', async (registry) => {
    const repository = registry.repository();
    const { manifest } = await registry.pushImage(repository);
    const answer = await registry.putManifest(repository, 'v1', manifest.bytes);
    require(answer.headers['oci-subject'] === undefined, 'there is an OCI-Subject');
  }),
  must('Push', 'a subject may come later, or never', async (registry) => {
    const repository = registry.repository();
    const subject = randomContent(300);
    const { artifact, answer } = await attach(registry, repository, subjectOf(subject));
    requireStatus(answer, 201);
    requireListed((await referrers(registry, repository, subject.digest)).manifests, artifact);
  }),
  ...[undefined, ''].map((artifactType) =>
    must(
      'end-12a',
      `artifactType ${String(artifactType)} of an image becomes that of its config`,
      async (registry) => {
        const repository = registry.repository();
        const { manifest } = await registry.pushImage(repository);
        await attach(registry, repository, subjectOf(manifest), { artifactType });
        const [listed] = (await referrers(registry, repository, manifest.digest)).manifests;
        require(listed?.artifactType === CONFIG, `the artifact type is ${String(listed?.artifactType)}`);
      },
    ),
  ),
  ...([undefined, SBOM] as const).map((artifactType) =>
    must('end-12a', `an index with artifactType ${String(artifactType)} is a referrer`, async (registry) => {
      const repository = registry.repository();
      const { manifest } = await registry.pushImage(repository);
      const index = indexOf([manifest], {
        artifactType,
        subject: subjectOf(manifest),
        annotations: { a: 'b' },
      });
      const answer = await registry.pushManifest(repository, index, MEDIA.index);
      requireHeader(answer, 'oci-subject', manifest.digest);
      const [listed] = (await referrers(registry, repository, manifest.digest)).manifests;
      require(listed?.digest === index.digest && listed.mediaType === MEDIA.index, 'it is not listed');
      require(listed.artifactType === artifactType, `the artifact type is ${String(listed.artifactType)}`);
      require(listed.annotations?.['a'] === 'b', 'the annotations are not there');
    }),
  ),
  must('Digest', 'a subject may have a sha512 digest', async (registry) => {
    const repository = registry.repository();
    const { manifest } = await registry.pushImage(repository);
    const digest = sha512(manifest.bytes);
    const { artifact, answer } = await attach(registry, repository, subjectOf(manifest, digest));
    requireHeader(answer, 'oci-subject', digest);
    requireListed((await referrers(registry, repository, digest)).manifests, artifact);
  }),
  must('end-12a', 'a referrer that is pushed twice, or tagged, is listed once', async (registry) => {
    const repository = registry.repository();
    const { manifest } = await registry.pushImage(repository);
    const { artifact } = await attach(registry, repository, subjectOf(manifest));
    await registry.pushManifest(repository, artifact, MEDIA.image, 'signature');
    requireListed((await referrers(registry, repository, manifest.digest)).manifests, artifact);
  }),
  must('end-12a', 'a deleted referrer is not listed, the others are', async (registry) => {
    const repository = registry.repository();
    const { manifest } = await registry.pushImage(repository);
    const one = await attach(registry, repository, subjectOf(manifest));
    const two = await attach(registry, repository, subjectOf(manifest));
    requireStatus(await registry.send('DELETE', `/v2/${repository}/manifests/${one.artifact.digest}`), 202);
    requireListed((await referrers(registry, repository, manifest.digest)).manifests, two.artifact);
  }),
  must('end-12a', 'referrers are those of one repository', async (registry) => {
    const [one, two] = [registry.repository(), registry.repository()];
    const subject = randomContent(300);
    await attach(registry, one, subjectOf(subject));
    await registry.pushImage(two, 'v1');
    requireListed((await referrers(registry, two, subject.digest)).manifests);
  }),
  should('end-12b', 'artifactType filters, and the answer says so', async (registry) => {
    const repository = registry.repository();
    const { manifest } = await registry.pushImage(repository);
    await attach(registry, repository, subjectOf(manifest));
    const sbom = await attach(registry, repository, subjectOf(manifest), { artifactType: SBOM });
    const found = await referrers(registry, repository, manifest.digest, { artifactType: SBOM });
    requireHeader(found.answer, 'oci-filters-applied', 'artifactType');
    requireListed(found.manifests, sbom.artifact);
    const none = await referrers(registry, repository, manifest.digest, { artifactType: 'application/x' });
    requireListed(none.manifests);
  }),
  should('end-12b', 'artifactType filters by the type of the config too', async (registry) => {
    const repository = registry.repository();
    const { manifest } = await registry.pushImage(repository);
    const plain = await attach(registry, repository, subjectOf(manifest), { artifactType: undefined });
    await attach(registry, repository, subjectOf(manifest));
    const found = await referrers(registry, repository, manifest.digest, { artifactType: CONFIG });
    requireListed(found.manifests, plain.artifact);
  }),
  must(
    'end-12a',
    'a list that one manifest cannot hold has pages, and Link leads through them',
    async (registry) => {
      const repository = registry.repository();
      const { manifest } = await registry.pushImage(repository);
      const annotations = { fill: 'x'.repeat(1_500_000) };
      const pushed: Content[] = [];
      for (let count = 0; count < 4; count += 1) {
        const extra = { annotations: { ...annotations, count: String(count) } };
        pushed.push((await attach(registry, repository, subjectOf(manifest), extra)).artifact);
      }
      const seen: Descriptor[] = [];
      let path: string | undefined = `/v2/${repository}/referrers/${manifest.digest}`;
      for (let page = 0; path !== undefined; page += 1) {
        require(page < 8, 'there is no end');
        const answer = await registry.send('GET', path);
        requireStatus(answer, 200);
        require(answer.body.length <= 4 * 1024 * 1024, `a page has ${answer.body.length} bytes`);
        seen.push(...(jsonOf(answer) as { manifests: Descriptor[] }).manifests);
        path = nextOf(answer);
      }
      requireListed(seen, ...pushed);
    },
  ),
  must(
    'Enabling the Referrers API',
    'what an index under the fallback tag lists is a referrer',
    async (registry) => {
      const repository = registry.repository();
      const { manifest } = await registry.pushImage(repository, 'v1');
      const old = await attach(registry, repository, subjectOf(manifest));
      const fallback = indexOf([], {
        manifests: [descriptorOf(old.artifact, MEDIA.image, { artifactType: SIGNATURE })],
      });
      const tag = manifest.digest.replace(':', '-');
      await registry.pushManifest(repository, fallback, MEDIA.index, tag);
      const recent = await attach(registry, repository, subjectOf(manifest), { artifactType: SBOM });
      const { manifests } = await referrers(registry, repository, manifest.digest);
      requireListed(manifests, old.artifact, recent.artifact);
      requireStatus(await registry.getManifest(repository, tag), 200);
    },
  ),
  must('end-12a', 'a fallback tag makes no referrer of what has no such subject', async (registry) => {
    const repository = registry.repository();
    const { manifest } = await registry.pushImage(repository, 'v1');
    const { manifest: other } = await registry.pushImage(repository, 'v2');
    await registry.pushManifest(repository, indexOf([other]), MEDIA.index, manifest.digest.replace(':', '-'));
    requireListed((await referrers(registry, repository, manifest.digest)).manifests);
  }),
];
