import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { get, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { eventually } from '@mural/core/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { RegistryFixture } from '../fixture.ts';
import { type Digest, digestOf } from '../names.ts';
import type { RegistryOptions } from '../server.ts';
import { machineDisk } from '../store/disk.ts';
import { MirrorFixture } from './fixture.ts';
import type { MirrorOptions } from './options.ts';
import { type Origin, startOrigin } from './origin.ts';

const MIB = 1024 * 1024;
const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(settings: Parameters<typeof MirrorFixture.start>[0] = {}): Promise<MirrorFixture> {
  const fixture = await MirrorFixture.start(settings);
  cleanups.push(() => fixture.stop());
  return fixture;
}

/** An upstream with one blob, whose bytes are sent when the test says so. */
class PacedBlob {
  readonly content: Buffer;
  readonly digest: Digest;
  readonly origin: Origin;
  readonly mirror: RegistryFixture;
  readonly responses: ServerResponse[];

  private constructor(
    content: Buffer,
    parts: { origin: Origin; mirror: RegistryFixture; responses: ServerResponse[] },
  ) {
    this.content = content;
    this.digest = digestOf(content);
    this.origin = parts.origin;
    this.mirror = parts.mirror;
    this.responses = parts.responses;
  }

  static async start(
    size: number,
    options: Partial<RegistryOptions & MirrorOptions> = {},
  ): Promise<PacedBlob> {
    const { timeoutMs = 20_000, concurrency = 8, ...rest } = options;
    const content = randomBytes(size);
    const responses: ServerResponse[] = [];
    const origin = await startOrigin((request, response) => {
      response.writeHead(200, { 'content-length': content.length });
      if (request.method === 'HEAD') response.end();
      else {
        response.flushHeaders();
        responses.push(response);
      }
    });
    const mirrors = [{ repositories: '**', upstream: origin.url, timeoutMs, concurrency }];
    const mirror = await RegistryFixture.start({ mirrors, ...rest });
    cleanups.push(
      () => mirror.stop(),
      () => origin.close(),
    );
    return new PacedBlob(content, { origin, mirror, responses });
  }

  get path(): string {
    return `/v2/team/app/blobs/${this.digest}`;
  }

  async response(): Promise<ServerResponse> {
    return await eventually(() => this.responses[0]);
  }

  /** A download that goes at the test's pace. */
  download(headers: Record<string, string> = {}): Download {
    return new Download(`${this.mirror.registry.url}${this.path}`, headers);
  }

  async cached(): Promise<void> {
    const before = this.origin.requests.length;
    await eventually(async () => {
      const { blobs } = await this.mirror.registry.maintenance.stats();
      return blobs === 1;
    });
    const answer = await this.mirror.send('GET', this.path);
    expect(answer.body.equals(this.content)).toBe(true);
    expect(this.origin.requests.length).toBe(before);
  }
}

class Download {
  received = 0;
  status: number | undefined;
  readonly chunks: Buffer[] = [];
  readonly outcome: Promise<'complete' | 'broken'>;
  response: IncomingMessage | undefined;
  readonly #abort = new AbortController();

  constructor(url: string, headers: Record<string, string>) {
    this.outcome = new Promise((resolve) => {
      const request = get(url, { agent: false, headers, signal: this.#abort.signal }, (response) => {
        this.response = response;
        this.status = response.statusCode;
        response.on('data', (chunk: Buffer) => {
          this.received += chunk.length;
          this.chunks.push(chunk);
        });
        response.on('error', () => resolve('broken'));
        response.on('end', () => resolve('complete'));
      });
      request.on('error', () => resolve('broken'));
    });
  }

  leave(): void {
    this.#abort.abort();
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }
}

describe('a blob through a mirror', () => {
  it('flows to the client while it comes, and is stored then', async () => {
    const blob = await PacedBlob.start(4 * MIB);
    const download = blob.download();
    const response = await blob.response();
    response.write(blob.content.subarray(0, MIB));
    // The last piece that came is held back until there is another.
    await eventually(() => download.received >= MIB / 2);
    expect((await blob.mirror.registry.maintenance.stats()).blobs).toBe(0);
    response.end(blob.content.subarray(MIB));
    expect(await download.outcome).toBe('complete');
    expect(download.bytes.equals(blob.content)).toBe(true);
    await blob.cached();
  });

  it('is fetched once for 50 clients at a time', async () => {
    const fixture = await start();
    const image = await fixture.pushImage('team/app', 'v1', 5_000_000);
    const answers = await Promise.all(
      Array.from({ length: 50 }, async () => {
        const manifest = await fixture.mirror.send('GET', '/v2/team/app/manifests/v1');
        const layer = await fixture.mirror.send('GET', `/v2/team/app/blobs/${image.layer}`);
        return manifest.status === 200 && layer.body.equals(image.content);
      }),
    );
    expect(answers.every(Boolean)).toBe(true);
    expect(fixture.seen('GET', /manifests/)).toHaveLength(1);
    expect(fixture.seen('GET', /blobs/)).toHaveLength(1);
    expect(fixture.seen('HEAD', /./)).toHaveLength(0);
  });

  it('reaches a client that comes when most of it has passed, whole and in ranges', async () => {
    const blob = await PacedBlob.start(12 * MIB);
    const first = blob.download();
    const response = await blob.response();
    response.write(blob.content.subarray(0, 11 * MIB));
    await eventually(() => first.received > 10 * MIB);
    const late = blob.download();
    const range = blob.download({ range: `bytes=100-${2 * MIB}` });
    const tail = blob.download({ range: 'bytes=-10' });
    expect(await range.outcome).toBe('complete');
    expect(range.status).toBe(206);
    expect(range.bytes.equals(blob.content.subarray(100, 2 * MIB + 1))).toBe(true);
    await eventually(() => late.received > 10 * MIB);
    response.end(blob.content.subarray(11 * MIB));
    for (const whole of [first, late]) {
      expect(await whole.outcome).toBe('complete');
      expect(whole.bytes.equals(blob.content)).toBe(true);
    }
    expect(await tail.outcome).toBe('complete');
    expect(tail.bytes.equals(blob.content.subarray(-10))).toBe(true);
    expect(blob.responses).toHaveLength(1);
  });

  it('goes on for the others, and into the store, when a client goes away', async () => {
    const blob = await PacedBlob.start(3 * MIB);
    const leaving = blob.download();
    const staying = blob.download();
    const response = await blob.response();
    response.write(blob.content.subarray(0, MIB));
    await eventually(() => leaving.received > 0 && staying.received > 0);
    leaving.leave();
    response.end(blob.content.subarray(MIB));
    expect(await staying.outcome).toBe('complete');
    expect(staying.bytes.equals(blob.content)).toBe(true);
    await blob.cached();
  });

  it('does not wait for a client that reads slowly', async () => {
    const blob = await PacedBlob.start(24 * MIB);
    const slow = blob.download();
    const fast = blob.download();
    const response = await blob.response();
    response.write(blob.content.subarray(0, MIB));
    await eventually(() => slow.received > 0);
    slow.response?.pause();
    response.end(blob.content.subarray(MIB));
    expect(await fast.outcome).toBe('complete');
    expect(fast.bytes.equals(blob.content)).toBe(true);
    slow.response?.resume();
    expect(await slow.outcome).toBe('complete');
    expect(slow.bytes.equals(blob.content)).toBe(true);
  });

  it('breaks off before its end and is not stored when the digest is wrong', async () => {
    const blob = await PacedBlob.start(3 * MIB);
    const download = blob.download();
    const response = await blob.response();
    response.write(blob.content.subarray(0, 2 * MIB));
    response.end(Buffer.alloc(MIB));
    expect(await download.outcome).toBe('broken');
    expect(download.received).toBeLessThan(3 * MIB);
    await eventually(async () => (await blob.mirror.registry.maintenance.stats()).uploads === 0);
    expect((await blob.mirror.registry.maintenance.stats()).blobs).toBe(0);
    const small = await PacedBlob.start(10);
    const answer = small.mirror.send('GET', small.path);
    (await small.response()).end(Buffer.alloc(10));
    expect((await answer).status).toBe(502);
  });

  it('is cut off when the upstream falls silent', async () => {
    const blob = await PacedBlob.start(2 * MIB, { timeoutMs: 300 });
    const download = blob.download();
    const response = await blob.response();
    response.write(blob.content.subarray(0, MIB));
    expect(await download.outcome).toBe('broken');
    await eventually(() => response.destroyed || response.socket === null || response.socket.destroyed);
  });

  it('is passed on, to several and at the pace of the slowest, when there is no room for it', async () => {
    const blob = await PacedBlob.start(20 * MIB, {
      maintenance: { quotas: [{ repositories: '**', bytes: MIB }] },
    });
    const first = blob.download();
    const second = blob.download();
    const response = await blob.response();
    response.end(blob.content);
    for (const download of [first, second]) {
      expect(await download.outcome).toBe('complete');
      expect(download.bytes.equals(blob.content)).toBe(true);
    }
    expect((await blob.mirror.registry.maintenance.stats()).blobs).toBe(0);
  });

  it('is passed on to its end when the disk fills up on the way', async () => {
    let full = false;
    const disk = {
      ...machineDisk,
      statfs: (async (path: string) => {
        const real = await machineDisk.statfs(path);
        return full ? Object.assign(real, { bavail: 0 }) : real;
      }) as typeof machineDisk.statfs,
    };
    const blob = await PacedBlob.start(40 * MIB, { disk });
    const download = blob.download();
    const response = await blob.response();
    response.write(blob.content.subarray(0, 4 * MIB));
    await eventually(() => download.received > 2 * MIB);
    full = true;
    response.end(blob.content.subarray(4 * MIB));
    expect(await download.outcome).toBe('complete');
    expect(download.bytes.equals(blob.content)).toBe(true);
    expect((await blob.mirror.registry.maintenance.stats()).blobs).toBe(0);
  });

  it('makes room under a quota by what was pulled least recently', async () => {
    const fixture = await start({
      registry: { useMs: 0, maintenance: { quotas: [{ repositories: '**', bytes: '3Mi' }] } },
    });
    const images = [];
    for (const tag of ['a', 'b', 'c']) images.push(await fixture.pushImage('team/app', tag, 1_300_000));
    for (const [index, tag] of ['a', 'b', 'c'].entries()) {
      await fixture.mirror.send('GET', `/v2/team/app/manifests/${tag}`);
      const layer = await fixture.mirror.send('GET', `/v2/team/app/blobs/${images[index]?.layer ?? ''}`);
      expect(layer.status).toBe(200);
      await eventually(async () => (await fixture.mirror.registry.maintenance.stats()).uploads === 0);
    }
    const before = fixture.seen('GET', /blobs/).length;
    for (const index of [2, 1])
      await fixture.mirror.send('GET', `/v2/team/app/blobs/${images[index]?.layer ?? ''}`);
    expect(fixture.seen('GET', /blobs/).length).toBe(before);
    await fixture.mirror.send('GET', `/v2/team/app/blobs/${images[0]?.layer ?? ''}`);
    expect(fixture.seen('GET', /blobs/).length).toBe(before + 1);
  });

  it('waits its turn when many are fetched', async () => {
    const blob = await PacedBlob.start(10, { concurrency: 1 });
    const first = blob.mirror.send('GET', `/v2/team/a/blobs/${blob.digest}`);
    const second = blob.mirror.send('GET', `/v2/team/b/blobs/${blob.digest}`);
    (await blob.response()).end(blob.content);
    expect((await first).status).toBe(200);
    (await eventually(() => blob.responses[1])).end(blob.content);
    expect((await second).status).toBe(200);
  });

  it('that was damaged here is fetched anew', async () => {
    const fixture = await start();
    const image = await fixture.pushImage('team/app', 'v1', 2_000_000);
    const path = `/v2/team/app/blobs/${image.layer}`;
    await fixture.mirror.send('GET', path);
    await eventually(async () => (await fixture.mirror.registry.maintenance.stats()).blobs === 1);
    const hex = image.layer.slice('sha256:'.length);
    await writeFile(join(fixture.mirror.directory, 'blobs', 'sha256', hex.slice(0, 2), hex), 'damaged');
    expect((await fixture.mirror.send('GET', path)).body.equals(image.content)).toBe(true);
    expect(fixture.seen('GET', /blobs/)).toHaveLength(2);
  });
});
