import { createHash, randomFillSync } from 'node:crypto';
import { type Answer, Connection, headerIn, requestHead, type Target } from './connection.ts';

const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
/** First bytes of a blob, which make it another one. */
const MARK_BYTES = 16;
const EMPTY = Buffer.from('{}');

/** An image of one layer, ready to be sent: nothing of it is computed while the clock runs. */
export interface Image {
  readonly tag: string;
  readonly mark: Buffer;
  /** What follows the mark; shared by all images of a size. */
  readonly rest: Buffer;
  readonly digest: string;
  readonly manifest: Buffer;
}

/** Makes images of `bytes` each that share no layer. */
export function makeImages(count: number, bytes: number, prefix: string): Image[] {
  const rest = randomFillSync(Buffer.allocUnsafe(bytes - MARK_BYTES));
  return Array.from({ length: count }, (_, index) => {
    const mark = randomFillSync(Buffer.alloc(MARK_BYTES));
    const digest = `sha256:${createHash('sha256').update(mark).update(rest).digest('hex')}`;
    const manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MANIFEST_TYPE,
        config: {
          mediaType: 'application/vnd.oci.empty.v1+json',
          digest: digestOf(EMPTY),
          size: EMPTY.length,
        },
        layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size: bytes }],
      }),
    );
    return { tag: `${prefix}-${index}`, mark, rest, digest, manifest };
  });
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** Speaks to one repository of one registry over one connection. */
export class RepositoryClient {
  readonly #connection: Connection;
  readonly #target: Target;
  readonly #repository: string;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(connection: Connection, target: Target, repository: string, authorization: string | undefined) {
    this.#connection = connection;
    this.#target = target;
    this.#repository = repository;
    this.#headers = authorization === undefined ? {} : { authorization };
  }

  static async open(
    target: Target,
    repository: string,
    authorization: string | undefined,
  ): Promise<RepositoryClient> {
    return new RepositoryClient(await Connection.open(target), target, repository, authorization);
  }

  close(): void {
    this.#connection.close();
  }

  /** The empty config, which all images share. */
  async pushConfig(): Promise<void> {
    await this.#putBlob([EMPTY], EMPTY.length, digestOf(EMPTY));
  }

  /** Layer, then manifest by tag. */
  async push(image: Image): Promise<void> {
    await this.#putBlob([image.mark, image.rest], image.mark.length + image.rest.length, image.digest);
    await this.#putManifest(image.tag, image.manifest);
  }

  /** Another manifest of an image that was pushed, by a tag of its own. */
  async pushManifest(image: Image, tag: string): Promise<void> {
    const manifest: unknown = JSON.parse(image.manifest.toString());
    const annotated = { ...(manifest as object), annotations: { tag } };
    await this.#putManifest(tag, Buffer.from(JSON.stringify(annotated)));
  }

  async #putManifest(tag: string, manifest: Buffer): Promise<void> {
    const head = this.#head('PUT', `/v2/${this.#repository}/manifests/${tag}`, {
      'content-type': MANIFEST_TYPE,
      'content-length': manifest.length,
    });
    expect(await this.#connection.send([head, manifest]), 201);
  }

  /** Manifest by tag, then layer. */
  async pull(image: Image): Promise<void> {
    const path = `/v2/${this.#repository}/manifests/${image.tag}`;
    expect(await this.#connection.send([this.#head('GET', path, { accept: MANIFEST_TYPE })]), 200);
    const blob = this.#head('GET', `/v2/${this.#repository}/blobs/${image.digest}`);
    const answer = expect(await this.#connection.send([blob]), 200);
    if (answer.bytes !== image.mark.length + image.rest.length)
      throw new Error(`a pull of ${answer.bytes} bytes`);
  }

  async #putBlob(parts: readonly Buffer[], length: number, digest: string): Promise<void> {
    const post = this.#head('POST', `/v2/${this.#repository}/blobs/uploads/`, { 'content-length': 0 });
    const { head } = expect(await this.#connection.send([post]), 202);
    const location = new URL(headerIn(head, 'location') ?? '', `http://${this.#target.host}`);
    location.searchParams.set('digest', digest);
    const put = this.#head('PUT', `${location.pathname}${location.search}`, {
      'content-type': 'application/octet-stream',
      'content-length': length,
    });
    expect(await this.#connection.send([put, ...parts]), 201);
  }

  #head(method: string, path: string, headers: Readonly<Record<string, string | number>> = {}): Buffer {
    return requestHead(method, path, this.#target, { ...this.#headers, ...headers });
  }
}

/** The request of a manifest by tag. */
export function manifestRequest(
  method: 'HEAD' | 'GET',
  target: Target,
  repository: string,
  options: { readonly tag: string; readonly authorization?: string | undefined },
): Buffer {
  const { authorization, tag } = options;
  return requestHead(method, `/v2/${repository}/manifests/${tag}`, target, {
    accept: MANIFEST_TYPE,
    ...(authorization === undefined ? {} : { authorization }),
  });
}

function expect(answer: Answer, status: number): Answer {
  if (answer.status !== status) throw new Error(`answered ${answer.status} instead of ${status}`);
  return answer;
}
