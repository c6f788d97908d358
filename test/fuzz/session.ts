import {
  CONFIG,
  type Content,
  contentOf,
  descriptorOf,
  imageOf,
  indexOf,
  LAYER,
  MEDIA,
} from '../conformance/content.ts';
import { type Answer, describe, type Registry, sha512, withQuery } from '../conformance/registry.ts';
import type { Chance } from './chance.ts';
import { ModelRepository, type ModelUpload, rangeOf } from './model.ts';

const TYPES = ['application/vnd.a', 'application/vnd.b'];
const TAGS = ['latest', 'v1', 'V1', '_x', '1.0', `sha256-${'a'.repeat(64)}`];

/** A difference between the registry and the model. */
export class Divergence extends Error {}

/** One client that does as chance wills and knows what must come of it. */
export class Session {
  readonly #chance: Chance;
  #registry: Registry;
  readonly #repositories = new Map<string, ModelRepository>();
  readonly #names: readonly string[];
  readonly #pool: Content[];
  readonly #uploads: ModelUpload[] = [];
  readonly #operations: readonly (() => Promise<void>)[];
  /** What was done, the last at the end. */
  readonly trace: string[] = [];

  constructor(registry: Registry, chance: Chance) {
    this.#registry = registry;
    this.#chance = chance;
    const base = registry.repository();
    this.#names = ['a', 'a/b', 'c'].map((name) => `${base}/${name}`);
    this.#pool = [
      contentOf('{}'),
      contentOf(''),
      ...[1, 20, 3000, 70_000].map((size) => contentOf(chance.bytes(size))),
    ];
    this.#operations = [
      () => this.#pushBlob(),
      () => this.#pushBlob(),
      () => this.#pushChunks(),
      () => this.#begin(),
      () => this.#patch(),
      () => this.#patch(),
      () => this.#finish(),
      () => this.#cancel(),
      () => this.#mount(),
      () => this.#readBlob(),
      () => this.#readBlob(),
      () => this.#deleteBlob(),
      () => this.#pushManifest(),
      () => this.#pushManifest(),
      () => this.#pushManifest(),
      () => this.#pushBroken(),
      () => this.#readManifest(),
      () => this.#readManifest(),
      () => this.#deleteManifest(),
      () => this.#listTags(),
      () => this.#listReferrers(),
      () => this.#nonsense(),
    ];
  }

  /** Goes on with another connection to the same registry. */
  use(registry: Registry): void {
    this.#registry = registry;
  }

  /** Does one thing. @throws Divergence */
  async step(): Promise<void> {
    await this.#chance.pick(this.#operations)();
  }

  /** Compares everything. @throws Divergence */
  async check(): Promise<void> {
    for (const name of this.#names) {
      const model = this.#model(name);
      for (const [digest, bytes] of model.blobs) {
        const answer = await this.#send('GET', `/v2/${name}/blobs/${digest}`);
        this.#expect(answer.status === 200 && answer.body.equals(bytes), answer);
      }
      for (const reference of [...model.manifests.keys(), ...model.tags.keys()]) {
        this.#expectManifest(await this.#registry.getManifest(name, reference), model, reference);
      }
      for (const { digest } of this.#pool) {
        const answer = await this.#send('HEAD', `/v2/${name}/blobs/${digest}`);
        this.#expect((answer.status === 200) === model.blobs.has(digest), answer);
      }
      if (!model.known) continue;
      const answer = await this.#send('GET', `/v2/${name}/tags/list`);
      this.#expectTags(answer, model.tagPage(undefined, 1000));
    }
  }

  #model(name: string): ModelRepository {
    const known = this.#repositories.get(name);
    if (known !== undefined) return known;
    const model = new ModelRepository();
    this.#repositories.set(name, model);
    return model;
  }

  async #send(method: string, path: string, sent: Parameters<Registry['send']>[2] = {}): Promise<Answer> {
    this.trace.push(`${method} ${path} ${sent.headers === undefined ? '' : JSON.stringify(sent.headers)}`);
    const answer = await this.#registry.send(method, path, sent);
    this.trace.push(`  ${answer.status}`);
    this.#expect(answer.status < 500, answer);
    return answer;
  }

  #expect(condition: boolean, answer: Answer): void {
    if (!condition) throw new Divergence(describe(answer));
  }

  #status(answer: Answer, ...statuses: number[]): void {
    if (!statuses.includes(answer.status))
      throw new Divergence(`${describe(answer)}; the model says ${statuses.join(' or ')}`);
  }

  #digest(content: Content): string {
    return this.#chance.once(6) ? sha512(content.bytes) : content.digest;
  }

  #stored(name: string, digest: string, bytes: Buffer): void {
    const model = this.#model(name);
    model.known = true;
    model.blobs.set(digest, bytes);
  }

  async #pushBlob(): Promise<void> {
    const name = this.#chance.pick(this.#names);
    const content = this.#chance.pick(this.#pool);
    const digest = this.#digest(content);
    const wrong = this.#chance.once(8);
    const body = wrong ? Buffer.concat([content.bytes, Buffer.from('!')]) : content.bytes;
    const answer = await this.#send('POST', withQuery(`/v2/${name}/blobs/uploads/`, { digest }), { body });
    this.#status(answer, wrong ? 400 : 201);
    if (!wrong) this.#stored(name, digest, content.bytes);
  }

  async #pushChunks(): Promise<void> {
    const name = this.#chance.pick(this.#names);
    const content = this.#chance.pick(this.#pool);
    let location = (await this.#send('POST', `/v2/${name}/blobs/uploads/`)).headers.location ?? '';
    for (let start = 0; start < content.bytes.length; ) {
      const end = Math.min(content.bytes.length, start + 1 + this.#chance.below(40_000));
      const body = content.bytes.subarray(start, end);
      const ranged = this.#chance.once(2) ? { headers: { 'content-range': `${start}-${end - 1}` } } : {};
      const answer = await this.#send('PATCH', location, { body, ...ranged });
      this.#status(answer, 202);
      location = answer.headers.location ?? '';
      start = end;
    }
    const digest = this.#digest(content);
    this.#status(await this.#send('PUT', withQuery(location, { digest })), 201);
    this.#stored(name, digest, content.bytes);
  }

  async #begin(): Promise<void> {
    if (this.#uploads.length > 5) return;
    const repository = this.#chance.pick(this.#names);
    const answer = await this.#send('POST', `/v2/${repository}/blobs/uploads/`);
    this.#status(answer, 202);
    this.#uploads.push({ repository, location: answer.headers.location ?? '', bytes: Buffer.of() });
  }

  async #patch(): Promise<void> {
    const upload = this.#uploads.length === 0 ? undefined : this.#chance.pick(this.#uploads);
    if (upload === undefined) return;
    const body = this.#chance.bytes(1 + this.#chance.below(300));
    const right = this.#chance.below(4) > 0;
    const start = right ? upload.bytes.length : upload.bytes.length + this.#chance.pick([-1, 1, 7, 100]);
    if (start < 0) return;
    const headers = { 'content-range': `${start}-${start + body.length - 1}` };
    this.#status(await this.#send('PATCH', upload.location, { headers, body }), right ? 202 : 416);
    if (right) upload.bytes = Buffer.concat([upload.bytes, body]);
    const answer = await this.#send('GET', upload.location);
    this.#status(answer, 204);
    this.#expect(answer.headers.range === `0-${Math.max(0, upload.bytes.length - 1)}`, answer);
  }

  #take(): ModelUpload | undefined {
    return this.#uploads.splice(this.#chance.below(Math.max(1, this.#uploads.length)), 1)[0];
  }

  async #finish(): Promise<void> {
    const upload = this.#take();
    if (upload === undefined) return;
    const last = this.#chance.once(2) ? this.#chance.bytes(10) : Buffer.of();
    const content = contentOf(Buffer.concat([upload.bytes, last]));
    const wrong = this.#chance.once(4);
    const digest = wrong ? contentOf(`${content.digest}!`).digest : this.#digest(content);
    const answer = await this.#send('PUT', withQuery(upload.location, { digest }), { body: last });
    this.#status(answer, wrong ? 400 : 201);
    if (!wrong) {
      this.#stored(upload.repository, digest, content.bytes);
      this.#status(await this.#send('GET', upload.location), 404);
    }
  }

  async #cancel(): Promise<void> {
    const upload = this.#take();
    if (upload === undefined) return;
    this.#status(await this.#send('DELETE', upload.location), 204);
    this.#status(await this.#send('PATCH', upload.location, { body: 'x' }), 404);
  }

  async #mount(): Promise<void> {
    const [target, from] = [this.#chance.pick(this.#names), this.#chance.pick(this.#names)];
    const content = this.#chance.pick(this.#pool);
    const digest = this.#digest(content);
    const query = this.#chance.once(3) ? { mount: digest } : { mount: digest, from };
    const sources = 'from' in query ? [from] : this.#names;
    const there = sources.some((name) => this.#model(name).blobs.has(digest));
    // Repositories of sessions before this one may have it.
    const elsewhere = !('from' in query) && content.bytes.length <= 2;
    const answer = await this.#send('POST', withQuery(`/v2/${target}/blobs/uploads/`, query));
    this.#status(answer, there || (elsewhere && answer.status === 201) ? 201 : 202);
    if (answer.status === 201) this.#stored(target, digest, content.bytes);
    else
      this.#uploads.push({ repository: target, location: answer.headers.location ?? '', bytes: Buffer.of() });
  }

  #anyBlob(model: ModelRepository): string {
    const known = [...model.blobs.keys()];
    return known.length === 0 || this.#chance.once(4)
      ? this.#digest(this.#chance.pick(this.#pool))
      : this.#chance.pick(known);
  }

  #range(size: number): string {
    const number = (): string =>
      this.#chance.pick(['', '0', '1', String(this.#chance.below(size + 2)), String(size), '999999']);
    return this.#chance.once(5)
      ? `bytes=${this.#chance.text()}`.replace(/[^\x20-\x7e]/g, '')
      : `bytes=${number()}-${number()}`;
  }

  async #readBlob(): Promise<void> {
    const name = this.#chance.pick(this.#names);
    const model = this.#model(name);
    const digest = this.#anyBlob(model);
    const bytes = model.blobs.get(digest);
    const path = `/v2/${name}/blobs/${digest}`;
    if (bytes === undefined || this.#chance.once(3)) {
      const answer = await this.#send(this.#chance.pick(['GET', 'HEAD']), path);
      this.#status(answer, bytes === undefined ? 404 : 200);
      return;
    }
    const range = this.#range(bytes.length);
    const answer = await this.#send('GET', path, { headers: { range } });
    const wanted = rangeOf(range.replaceAll(' ', ''), bytes.length);
    if (wanted === 'none') this.#status(answer, 416);
    else if (wanted === 'all') this.#expect(answer.status === 200 && answer.body.equals(bytes), answer);
    else this.#expect(answer.status === 206 && answer.body.equals(bytes.subarray(...wanted)), answer);
  }

  async #deleteBlob(): Promise<void> {
    const name = this.#chance.pick(this.#names);
    const model = this.#model(name);
    const digest = this.#anyBlob(model);
    const answer = await this.#send('DELETE', `/v2/${name}/blobs/${digest}`);
    this.#status(answer, model.blobs.delete(digest) ? 202 : 404);
  }

  #makeManifest(model: ModelRepository): {
    content: Content;
    mediaType: string;
    complete: boolean;
    subject?: string;
    artifactType?: string;
  } {
    const subject = this.#chance.once(2) ? undefined : contentOf(this.#chance.pick(['s1', 's2', 's3']));
    const artifactType = this.#chance.once(2) ? undefined : this.#chance.pick(TYPES);
    const annotations = { n: String(this.#chance.below(20)) };
    const extra = {
      artifactType,
      annotations,
      subject: subject === undefined ? undefined : descriptorOf(subject, MEDIA.image),
    };
    const about = subject === undefined ? {} : { subject: subject.digest };
    if (this.#chance.once(4)) {
      const children = [...model.manifests]
        .slice(0, this.#chance.below(4))
        .map(([digest, manifest]) => ({ digest, bytes: manifest.bytes }));
      const content = indexOf(children, extra);
      return {
        content,
        mediaType: MEDIA.index,
        complete: true,
        ...about,
        ...(artifactType === undefined ? {} : { artifactType }),
      };
    }
    const blobs = Array.from({ length: 1 + this.#chance.below(3) }, () => this.#chance.pick(this.#pool));
    const [config = contentOf('{}'), ...layers] = blobs;
    const content = imageOf(config, layers, extra);
    const complete = blobs.every(({ digest }) => model.blobs.has(digest));
    return { content, mediaType: MEDIA.image, complete, ...about, artifactType: artifactType ?? CONFIG };
  }

  async #pushManifest(): Promise<void> {
    const name = this.#chance.pick(this.#names);
    const model = this.#model(name);
    const { content, mediaType, complete, subject, artifactType } = this.#makeManifest(model);
    const tags = Array.from({ length: this.#chance.below(3) }, () => this.#chance.pick(TAGS));
    const byTag = tags.length === 1 && this.#chance.once(2);
    const digest = byTag ? content.digest : this.#digest(content);
    const query = tags.map((tag) => `tag=${tag}`).join('&');
    const reference = byTag ? (tags[0] ?? '') : tags.length === 0 ? digest : `${digest}?${query}`;
    const headers = { 'content-type': mediaType };
    const answer = await this.#send('PUT', `/v2/${name}/manifests/${reference}`, {
      headers,
      body: content.bytes,
    });
    this.#status(answer, complete ? 201 : 400);
    if (!complete) return;
    model.known = true;
    model.manifests.set(digest, { bytes: content.bytes, mediaType, subject, artifactType });
    for (const tag of tags) model.tags.set(tag, digest);
    this.#expect(answer.headers['oci-subject'] === subject, answer);
  }

  /** A manifest with a few bytes changed: refused, or else kept as it is. */
  async #pushBroken(): Promise<void> {
    const name = this.#chance.pick(this.#names);
    const model = this.#model(name);
    const { content, mediaType } = this.#makeManifest(model);
    const bytes = Buffer.from(content.bytes);
    for (let count = 0; count <= this.#chance.below(4); count += 1)
      bytes[this.#chance.below(bytes.length)] = this.#chance.once(2)
        ? this.#chance.below(256)
        : this.#chance.text().charCodeAt(0) || 0x22;
    const { digest } = contentOf(bytes);
    const answer = await this.#send('PUT', `/v2/${name}/manifests/${digest}`, {
      headers: { 'content-type': mediaType },
      body: bytes,
    });
    this.#status(answer, 201, 400);
    if (answer.status === 400) return;
    const parsed = JSON.parse(bytes.toString()) as {
      artifactType?: string;
      config?: { mediaType: string };
      subject?: { digest: string };
    };
    const artifactType =
      (parsed.artifactType === '' ? undefined : parsed.artifactType) ?? parsed.config?.mediaType;
    model.known = true;
    model.manifests.set(digest, { bytes, mediaType, subject: parsed.subject?.digest, artifactType });
  }

  #expectManifest(answer: Answer, model: ModelRepository, reference: string): void {
    const found = model.find(reference);
    if (found === undefined) {
      this.#status(answer, 404);
      return;
    }
    const { manifest, digest } = found;
    this.#status(answer, 200);
    this.#expect(answer.body.equals(manifest.bytes), answer);
    this.#expect(answer.headers['content-type'] === manifest.mediaType, answer);
    this.#expect(answer.headers['docker-content-digest'] === digest, answer);
  }

  #anyReference(model: ModelRepository): string {
    const digests = [...model.manifests.keys()];
    return digests.length === 0 || this.#chance.once(2)
      ? this.#chance.pick(TAGS)
      : this.#chance.pick(digests);
  }

  async #readManifest(): Promise<void> {
    const name = this.#chance.pick(this.#names);
    const model = this.#model(name);
    const reference = this.#anyReference(model);
    const found = model.find(reference);
    const path = `/v2/${name}/manifests/${reference}`;
    if (found !== undefined && this.#chance.once(3)) {
      const headers = { 'if-none-match': `"${found.digest}"` };
      this.#status(await this.#send('GET', path, { headers }), 304);
      return;
    }
    this.#expectManifest(await this.#send('GET', path), model, reference);
  }

  async #deleteManifest(): Promise<void> {
    const name = this.#chance.pick(this.#names);
    const model = this.#model(name);
    const reference = this.#anyReference(model);
    const answer = await this.#send('DELETE', `/v2/${name}/manifests/${reference}`);
    const deleted = reference.includes(':') ? model.deleteManifest(reference) : model.tags.delete(reference);
    this.#status(answer, deleted ? 202 : 404);
  }

  #expectTags(answer: Answer, expected: readonly string[]): void {
    this.#status(answer, 200);
    const { tags } = JSON.parse(answer.body.toString()) as { tags: string[] };
    this.#expect(JSON.stringify(tags) === JSON.stringify(expected), answer);
  }

  async #listTags(): Promise<void> {
    const name = this.#chance.pick(this.#names);
    const model = this.#model(name);
    const n = this.#chance.below(8);
    const last = this.#chance.once(2) ? undefined : this.#chance.pick([...TAGS, 'W', '0', '~']);
    const query = { n: String(n), ...(last === undefined ? {} : { last }) };
    const answer = await this.#send('GET', withQuery(`/v2/${name}/tags/list`, query));
    if (model.known) this.#expectTags(answer, model.tagPage(last, n));
    else this.#status(answer, 404);
  }

  async #listReferrers(): Promise<void> {
    const name = this.#chance.pick(this.#names);
    const { digest } = contentOf(this.#chance.pick(['s1', 's2', 's3']));
    const artifactType = this.#chance.once(2) ? undefined : this.#chance.pick([...TYPES, CONFIG, LAYER]);
    const path = `/v2/${name}/referrers/${digest}`;
    const answer = await this.#send(
      'GET',
      artifactType === undefined ? path : withQuery(path, { artifactType }),
    );
    this.#status(answer, 200);
    const { manifests } = JSON.parse(answer.body.toString()) as { manifests: { digest: string }[] };
    const listed = manifests.map((descriptor) => descriptor.digest).sort();
    const expected = this.#model(name).referrers(digest, artifactType);
    this.#expect(JSON.stringify(listed) === JSON.stringify(expected), answer);
  }

  /** Paths, parameters and headers out of nowhere: answered, below 500, and nothing changes. */
  async #nonsense(): Promise<void> {
    const method = this.#chance.pick(['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'POST']);
    const ends = [
      `manifests/${this.#chance.text()}`,
      `blobs/${this.#chance.text()}`,
      `blobs/uploads/${this.#chance.text()}`,
    ];
    const end = this.#chance.pick([
      ...ends,
      `tags/list?n=${this.#chance.text()}`,
      `referrers/${this.#chance.text()}`,
      this.#chance.text(),
    ]);
    const name = this.#chance.pick([this.#chance.text(), `${this.#names[0] ?? ''}/${this.#chance.text()}`]);
    const path = `/v2/${name}/${end}`.replace(/[^\x21-\x7e]/g, '');
    if (/blobs\/uploads\/?(\?|#|$)/.test(path) && method === 'POST') return;
    const headers = {
      'content-range': this.#chance.text(),
      range: this.#chance.text(),
      'if-none-match': this.#chance.text(),
    };
    await this.#send(method, path, {
      headers,
      ...(method === 'GET' || method === 'HEAD' ? {} : { body: this.#chance.text() }),
    });
  }
}
