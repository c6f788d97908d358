import { randomBytes } from 'node:crypto';
import type { Digest } from '../names.ts';
import { digestOf } from '../names.ts';
import {
  type FakeRegistry,
  type FakeRegistryOptions,
  type SeenRequest,
  startFakeRegistry,
} from '@mural/oci/testing';
import { IMAGE, imageOf, INDEX, RegistryFixture, sendTo } from '../fixture.ts';
import type { RegistryOptions } from '../server.ts';
import type { MirrorOptions } from './options.ts';

/** An image that is upstream. */
export interface UpstreamImage {
  readonly digest: Digest;
  readonly bytes: string;
  readonly config: Digest;
  readonly layer: Digest;
  readonly content: Buffer;
}

/** A registry that mirrors another, in front of one that records and fails on demand. */
export class MirrorFixture {
  readonly upstream: FakeRegistry;
  readonly mirror: RegistryFixture;

  private constructor(upstream: FakeRegistry, mirror: RegistryFixture) {
    this.upstream = upstream;
    this.mirror = mirror;
  }

  static async start(
    settings: {
      mirror?: Partial<MirrorOptions>;
      registry?: Partial<RegistryOptions>;
      upstream?: FakeRegistryOptions;
    } = {},
  ): Promise<MirrorFixture> {
    const upstream = await startFakeRegistry(settings.upstream);
    const options: MirrorOptions = {
      ...(settings.mirror?.prefix === undefined ? { repositories: 'team/**' } : {}),
      upstream: upstream.url,
      timeoutMs: 5000,
      ...settings.mirror,
    };
    const mirror = await RegistryFixture.start({ mirrors: [options], ...settings.registry });
    return new MirrorFixture(upstream, mirror);
  }

  async stop(): Promise<void> {
    await this.mirror.stop();
    await this.upstream.close();
  }

  /** Requests that the upstream has seen, of a method and to paths that fit. */
  seen(method: string, path: RegExp): SeenRequest[] {
    return this.upstream.requests.filter((one) => one.method === method && path.test(one.path));
  }

  async pushBlob(repository: string, content: Buffer): Promise<Digest> {
    const digest = digestOf(content);
    const start = await this.#upstream('POST', `/v2/${repository}/blobs/uploads/`);
    const location = String(start.headers.location);
    const url = `${location}${location.includes('?') ? '&' : '?'}digest=${digest}`;
    const done = await this.#upstream('PUT', url, content);
    if (done.status !== 201) throw new Error(`the upstream answered ${done.status}`);
    return digest;
  }

  async pushManifest(repository: string, reference: string, body: string, type = IMAGE): Promise<Digest> {
    const path = `/v2/${repository}/manifests/${reference}`;
    const done = await this.#upstream('PUT', path, Buffer.from(body), type);
    if (done.status !== 201) throw new Error(`the upstream answered ${done.status}`);
    return digestOf(body);
  }

  async pushImage(repository: string, tag: string, size = 1000, extra: object = {}): Promise<UpstreamImage> {
    const content = randomBytes(size);
    const layer = await this.pushBlob(repository, content);
    const config = await this.pushBlob(repository, Buffer.from('{}'));
    const bytes = imageOf(config, { digest: layer, size }, extra);
    return { digest: await this.pushManifest(repository, tag, bytes), bytes, config, layer, content };
  }

  async pushIndex(repository: string, tag: string, images: readonly UpstreamImage[]): Promise<Digest> {
    const manifests = images.map(({ digest, bytes }) => ({ mediaType: IMAGE, digest, size: bytes.length }));
    const body = JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests });
    return await this.pushManifest(repository, tag, body, INDEX);
  }

  async #upstream(method: string, path: string, body?: Buffer, type?: string): ReturnType<typeof sendTo> {
    const { credential } = this.upstream;
    return await sendTo(this.upstream.host, method, path, {
      ...(body === undefined ? {} : { body }),
      ...(type === undefined ? {} : { headers: { 'content-type': type } }),
      ...(credential === undefined ? {} : { as: `${credential.username}:${credential.password}` }),
    });
  }
}
