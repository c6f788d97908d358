import type { Readable } from 'node:stream';
import {
  type Clock,
  type Logger,
  type ProcessEnvironment,
  type Random,
  silentLogger,
  systemClock,
} from '@mural/core';
import {
  algorithmOf,
  checkLength,
  type Content,
  describe,
  identify,
  isMissing,
  mismatch,
  nextPage,
  parseList,
  sessionOf,
  taken,
  unlessMissing,
  verified,
} from './answers.ts';
import { type Call, Caller } from './caller.ts';
import type { Credential, CredentialProvider } from './credentials.ts';
import { startDeadline } from './deadline.ts';
import { type Digest, digestOf, DigestVerifier, isDigest, parseDigest } from './digest.ts';
import { OciError } from './errors.ts';
import { type Descriptor, ImageIndex, MAX_MANIFEST_BYTES, MEDIA_TYPES, parseManifest } from './manifest.ts';
import { isValidRegistry, isValidRepository, isValidTag } from './reference.ts';
import {
  contentLength,
  discard,
  header,
  type HttpResponse,
  readBounded,
  transportError,
} from './transport.ts';
import { tryUpload, type UploadTrial } from './upload-trial.ts';

/** How a registry is reached. */
export interface RegistryClientOptions {
  /** `host` or `host:port`. */
  readonly registry: string;
  /** Anonymous unless given. */
  readonly credentials?: Credential | CredentialProvider | undefined;
  /** PEM of authorities that are trusted beside those Node trusts. */
  readonly ca?: string | undefined;
  /** Plain HTTP. */
  readonly insecure?: boolean | undefined;
  /** Total time of one call with its retries, in milliseconds; blobs get one second more per MiB. 60 s unless given. */
  readonly timeoutMs?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
  readonly log?: Logger | undefined;
  readonly userAgent?: string | undefined;
  /** Where `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` are looked up: `process.env` unless given. */
  readonly environment?: ProcessEnvironment | undefined;
}

/** A manifest as the registry holds it. */
export interface FetchedManifest {
  readonly bytes: Uint8Array;
  readonly mediaType: string;
  readonly digest: Digest;
}

/** A blob to be uploaded: from memory, or from a stream that can be opened again for each try. */
export interface BlobSource {
  readonly digest: Digest;
  readonly size: number;
  readonly bytes?: Uint8Array;
  readonly open?: () => Readable;
}

const ACCEPT = [
  MEDIA_TYPES.imageManifest,
  MEDIA_TYPES.imageIndex,
  MEDIA_TYPES.dockerManifest,
  MEDIA_TYPES.dockerManifestList,
].join(', ');
const MAX_LIST_BYTES = 8 * 1024 * 1024;
const MAX_PAGES = 1000;
const MAX_TAGS = 1_000_000;
const MAX_REFERRERS = 100_000;
const MS_PER_MIB = 1000;

/**
 * A client of the distribution-spec for one registry. Everything that is read is checked against its
 * digest and size before it is handed out. Connections are kept: use one client for many calls and
 * close it in the end.
 */
export class RegistryClient {
  /** `host` or `host:port`. */
  readonly registry: string;
  readonly #caller: Caller;

  /** @throws OciError `ReferenceInvalid` for what is not a registry, `CertificateInvalid` for an unreadable CA */
  constructor(options: RegistryClientOptions) {
    if (!isValidRegistry(options.registry)) {
      throw new OciError('ReferenceInvalid', `"${options.registry.slice(0, 300)}" is not a registry`, {
        hint: 'Write a host with an optional port.',
      });
    }
    this.registry = options.registry;
    const { credentials } = options;
    this.#caller = new Caller({
      origin: new URL(`${options.insecure === true ? 'http' : 'https'}://${options.registry}`),
      credentials: typeof credentials === 'function' ? credentials : async () => credentials,
      ca: options.ca,
      timeoutMs: options.timeoutMs ?? 60_000,
      clock: options.clock ?? systemClock,
      random: options.random ?? Math.random,
      log: options.log ?? silentLogger,
      userAgent: options.userAgent ?? 'mural',
      environment: options.environment ?? process.env,
    });
  }

  /** Whether the registry answers and takes the credentials (distribution-spec end-1). */
  async ping(signal?: AbortSignal): Promise<void> {
    await this.#caller.run(
      {
        method: 'GET',
        url: new URL('/v2/', this.#caller.origin),
        scope: { actions: '' },
        subject: 'registry',
        what: 'a check of the registry',
        expect: [200],
        read: discard,
      },
      signal,
    );
  }

  /**
   * Asks what a tag or digest holds (end-3), with one HEAD; with a GET when the answer lacks a header, or
   * is a 400, whose reason a HEAD cannot tell (ECR throttles with 400).
   *
   * @returns `undefined` when the registry does not have it
   */
  async headManifest(
    repository: string,
    reference: string,
    signal?: AbortSignal,
  ): Promise<Descriptor | undefined> {
    const head = this.#manifestCall('HEAD', repository, reference, async (response) => {
      await discard(response);
      return describe(response, reference);
    });
    const get = this.#getManifestCall(repository, reference);
    const ask = async (inner: AbortSignal): Promise<Descriptor> => {
      const described = await this.#caller.exchange({ ...head, expect: [200, 400, 405] }, inner);
      if (described !== undefined) return described;
      const { mediaType, digest, bytes } = await this.#caller.exchange(get, inner);
      return { mediaType, digest, size: bytes.length };
    };
    return await unlessMissing(this.#caller.operation(head.what, signal, ask));
  }

  /**
   * Reads a manifest (end-3), at most 4 MiB.
   *
   * @throws OciError `ManifestUnknown`, `DigestMismatch`, `TooLarge` and what any call can throw
   */
  async getManifest(repository: string, reference: string, signal?: AbortSignal): Promise<FetchedManifest> {
    return await this.#caller.run(this.#getManifestCall(repository, reference), signal);
  }

  /**
   * Writes a manifest under a tag or its digest (end-7).
   *
   * @returns its digest
   */
  async putManifest(
    repository: string,
    reference: string,
    bytes: Uint8Array,
    mediaType: string,
    signal?: AbortSignal,
  ): Promise<Digest> {
    const digest = digestOf(bytes, algorithmOf(reference));
    if (isDigest(reference) && reference !== digest) throw mismatch(reference, digest);
    const call = this.#manifestCall('PUT', repository, reference, discard);
    const sent = { headers: { 'content-type': mediaType }, body: () => bytes, expect: [201] };
    await this.#caller.run({ ...call, ...sent }, signal);
    return digest;
  }

  /** Deletes a manifest by digest, or a tag (end-9). */
  async deleteManifest(repository: string, reference: string, signal?: AbortSignal): Promise<void> {
    const call = this.#manifestCall('DELETE', repository, reference, discard);
    await this.#caller.run({ ...call, expect: [200, 202] }, signal);
  }

  /** Whether the repository has a blob (end-2). */
  async headBlob(
    repository: string,
    content: Pick<Content, 'digest'>,
    signal?: AbortSignal,
  ): Promise<boolean> {
    const call = this.#blobCall('HEAD', repository, content.digest, taken);
    const found = this.#caller.run(call, signal);
    return (await unlessMissing(found)) ?? false;
  }

  /**
   * How many bytes a blob has, as the registry says (end-2): nothing is verified.
   *
   * @returns `undefined` when the repository does not have it
   * @throws OciError `ServerError` for an answer without a length
   */
  async blobSize(repository: string, digest: Digest, signal?: AbortSignal): Promise<number | undefined> {
    const call = this.#blobCall('HEAD', repository, digest, async (response) => {
      await discard(response);
      const size = contentLength(response);
      if (size !== undefined) return size;
      throw new OciError('ServerError', `${this.registry} does not say how large ${digest} is`);
    });
    return await unlessMissing(this.#caller.run(call, signal));
  }

  /**
   * Reads a blob into memory (end-2): no more than the descriptor's size.
   *
   * @throws OciError `BlobUnknown`, `DigestMismatch` and what any call can throw
   */
  async getBlob(repository: string, content: Content, signal?: AbortSignal): Promise<Uint8Array> {
    const call = this.#blobCall('GET', repository, content.digest, async (response) => {
      const verifier = new DigestVerifier(content.digest, content.size);
      checkLength(response, content);
      const chunks: Uint8Array[] = [];
      for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
        verifier.update(chunk);
        chunks.push(chunk);
      }
      verifier.finish();
      return Buffer.concat(chunks, content.size);
    });
    return await this.#caller.run(call, signal, extraTime(content.size));
  }

  /**
   * Reads a blob piece by piece. The time limit is from one piece to the next; the last piece comes only
   * after everything has been verified. Nothing is tried again once the first piece has been given out.
   */
  async *streamBlob(repository: string, content: Content, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const what = `reading the blob ${content.digest}`;
    const deadline = startDeadline(this.#caller.clock, this.#caller.timeoutMs, what, signal);
    let response: HttpResponse | undefined;
    try {
      const call = this.#blobCall('GET', repository, content.digest, async (opened) => opened);
      response = await this.#caller.attempts(what, deadline.signal, (inner) =>
        this.#caller.exchange(call, inner),
      );
      checkLength(response, content);
      yield* verified(response.body as AsyncIterable<Uint8Array>, content, deadline);
    } catch (error) {
      throw response === undefined ? error : transportError(error, response.url, deadline.signal);
    } finally {
      response?.body.destroy();
      deadline.end();
    }
  }

  /**
   * Uploads a blob unless the repository has it: HEAD, then POST and PUT (end-4a, end-6).
   *
   * @returns whether it was sent
   */
  async putBlob(repository: string, blob: BlobSource, signal?: AbortSignal): Promise<boolean> {
    const body = (): Uint8Array | Readable => blob.open?.() ?? blob.bytes ?? new Uint8Array();
    const what = `uploading the blob ${blob.digest}`;
    const common = { scope: { repository, actions: 'pull,push' }, subject: 'upload', what } as const;
    const head = { ...this.#blobCall('HEAD', repository, blob.digest, taken), scope: common.scope };
    const upload = async (inner: AbortSignal): Promise<boolean> => {
      if ((await unlessMissing(this.#caller.exchange(head, inner))) === true) return false;
      const session = await this.#caller.exchange(this.#uploadCall(repository, what), inner);
      const query = `digest=${encodeURIComponent(blob.digest)}`;
      session.search = session.search === '' ? `?${query}` : `${session.search}&${query}`;
      const headers = { 'content-type': 'application/octet-stream', 'content-length': String(blob.size) };
      const put = {
        ...common,
        method: 'PUT',
        url: session,
        headers,
        body,
        expect: [201, 204],
        read: discard,
      } as const;
      await this.#caller.exchange(put, inner);
      return true;
    };
    return await this.#caller.operation(what, signal, upload, extraTime(blob.size));
  }

  /**
   * Whether blobs may be uploaded: begins an upload (end-4a) and gives it up. A registry that knows no
   * giving up forgets the session by itself.
   *
   * @throws OciError `AccessDenied`, `NameUnknown` and what any call can throw
   */
  async probeUpload(repository: string, signal?: AbortSignal): Promise<void> {
    const call = this.#uploadCall(repository, `asking to upload to ${repository}`);
    const session = await this.#caller.run(call, signal);
    const cancel = { ...call, method: 'DELETE', url: session, expect: [202, 204], read: discard } as const;
    await this.#caller.exchange(cancel, signal ?? AbortSignal.timeout(10_000)).catch(() => undefined);
  }

  /**
   * Whether each step of an upload is allowed: tries them all, and leaves no blob.
   *
   * @throws OciError for a registry that is not reached at all; what a step was refused with is in the result
   */
  async tryUpload(repository: string, signal?: AbortSignal): Promise<UploadTrial> {
    const begin = this.#uploadCall(repository, `trying an upload to ${repository}`);
    return await tryUpload(this.#caller, begin, signal);
  }

  /** Every tag of a repository (end-8), following its pages. */
  async listTags(repository: string, signal?: AbortSignal): Promise<string[]> {
    const tags: string[] = [];
    await this.#pages(this.#url(repository, 'tags/list?n=1000'), repository, 'tags', signal, (document) => {
      const page = (document as { tags?: unknown } | null)?.tags ?? [];
      if (Array.isArray(page)) tags.push(...page.filter((tag): tag is string => typeof tag === 'string'));
      return tags.length <= MAX_TAGS;
    });
    return tags;
  }

  /** What refers to a manifest (end-12), with the fallback tag of registries that have no such endpoint. */
  async listReferrers(
    repository: string,
    digest: Digest,
    artifactType?: string,
    signal?: AbortSignal,
  ): Promise<Descriptor[]> {
    const { algorithm, hex } = parseDigest(digest);
    const query = artifactType === undefined ? '' : `?artifactType=${encodeURIComponent(artifactType)}`;
    const found: Descriptor[] = [];
    const url = this.#url(repository, `referrers/${digest}${query}`);
    try {
      await this.#pages(url, repository, 'referrers', signal, (document) => {
        const index = ImageIndex.safeParse(document);
        if (!index.success)
          throw new OciError('ManifestInvalid', `the referrers of ${digest} are not an index`);
        found.push(...index.data.manifests);
        return found.length <= MAX_REFERRERS;
      });
    } catch (error) {
      if (!isMissing(error) && !(error instanceof OciError && error.code === 'RequestRefused')) throw error;
      found.push(...(await this.#fallbackReferrers(repository, `${algorithm}-${hex}`, signal)));
    }
    return found.filter((one) => artifactType === undefined || one.artifactType === artifactType);
  }

  /** Ends the connections. */
  async close(): Promise<void> {
    await this.#caller.close();
  }

  async #fallbackReferrers(
    repository: string,
    tag: string,
    signal: AbortSignal | undefined,
  ): Promise<Descriptor[]> {
    try {
      const { bytes, mediaType } = await this.getManifest(repository, tag, signal);
      const parsed = parseManifest(bytes, mediaType);
      return parsed.kind === 'index' ? parsed.manifest.manifests : [];
    } catch (error) {
      if (isMissing(error)) return [];
      throw error;
    }
  }

  async #pages(
    first: URL,
    repository: string,
    subject: 'tags' | 'referrers',
    signal: AbortSignal | undefined,
    take: (document: unknown) => boolean,
  ): Promise<void> {
    let url: URL | undefined = first;
    const what = `listing the ${subject} of ${repository}`;
    for (let page = 0; url !== undefined; page += 1) {
      if (page >= MAX_PAGES) throw new OciError('TooLarge', `${what} takes more than ${MAX_PAGES} pages`);
      const current: URL = url;
      const call: Call<URL | undefined> = {
        method: 'GET',
        url: current,
        scope: { repository, actions: 'pull' },
        subject,
        what,
        headers: { accept: subject === 'tags' ? 'application/json' : MEDIA_TYPES.imageIndex },
        expect: [200],
        read: async (response) => {
          const body = await readBounded(response, MAX_LIST_BYTES, what);
          const more = take(parseList(body, what));
          if (!more) throw new OciError('TooLarge', `${what} gives more than can be held`);
          return nextPage(header(response, 'link'), current);
        },
      };
      url = await this.#caller.run(call, signal);
    }
  }

  #getManifestCall(repository: string, reference: string): Call<FetchedManifest> {
    return this.#manifestCall('GET', repository, reference, async (response) => {
      const bytes = await readBounded(
        response,
        MAX_MANIFEST_BYTES,
        `the manifest ${repository}:${reference}`,
      );
      return { bytes, ...identify(response, reference, bytes) };
    });
  }

  #manifestCall<T>(
    method: 'GET' | 'HEAD' | 'PUT' | 'DELETE',
    repository: string,
    reference: string,
    read: (response: HttpResponse) => Promise<T>,
  ): Call<T> {
    if (!isValidTag(reference) && !isDigest(reference)) {
      throw new OciError('ReferenceInvalid', `"${reference.slice(0, 200)}" is neither a tag nor a digest`);
    }
    const actions = { GET: 'pull', HEAD: 'pull', PUT: 'pull,push', DELETE: 'delete' }[method];
    const verb = { GET: 'reading', HEAD: 'asking for', PUT: 'writing', DELETE: 'deleting' }[method];
    const shown = isDigest(reference) ? `${repository}@${reference}` : `${repository}:${reference}`;
    return {
      method,
      url: this.#url(repository, `manifests/${reference}`),
      scope: { repository, actions },
      subject: 'manifest',
      what: `${verb} the manifest ${shown}`,
      headers: method === 'GET' || method === 'HEAD' ? { accept: ACCEPT } : {},
      expect: [200],
      read,
    };
  }

  #uploadCall(repository: string, what: string): Call<URL> {
    return {
      method: 'POST',
      url: this.#url(repository, 'blobs/uploads/'),
      scope: { repository, actions: 'pull,push' },
      subject: 'upload',
      what,
      headers: { 'content-length': '0' },
      expect: [202],
      read: sessionOf,
    };
  }

  #blobCall<T>(
    method: 'GET' | 'HEAD',
    repository: string,
    digest: Digest,
    read: (response: HttpResponse) => Promise<T>,
  ): Call<T> {
    parseDigest(digest);
    const what = `${method === 'GET' ? 'reading' : 'asking for'} the blob ${digest}`;
    const url = this.#url(repository, `blobs/${digest}`);
    return {
      method,
      url,
      scope: { repository, actions: 'pull' },
      subject: 'blob',
      what,
      expect: [200],
      read,
    };
  }

  #url(repository: string, rest: string): URL {
    if (!isValidRepository(repository)) {
      throw new OciError('ReferenceInvalid', `"${repository.slice(0, 300)}" is not a repository name`);
    }
    return new URL(`/v2/${repository}/${rest}`, this.#caller.origin);
  }
}

function extraTime(size: number): number {
  return Math.ceil((size / (1024 * 1024)) * MS_PER_MIB);
}
