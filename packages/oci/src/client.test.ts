import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { eventually, FakeClock } from '@mural/core/testing';
import { afterEach, describe, expect, it } from 'vitest';
import {
  type Descriptor,
  digestOf,
  MEDIA_TYPES,
  RegistryClient,
  type RegistryClientOptions,
} from './index.ts';
import { type FakeRegistry, type FakeRegistryOptions, startFakeRegistry, TEST_TLS } from './testing.ts';

const REPO = 'mural/workloads';
const EMPTY = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.imageManifest,
    config: { mediaType: MEDIA_TYPES.emptyJson, digest: digestOf('{}'), size: 2 },
    layers: [],
  }),
);

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

async function registryOf(options: FakeRegistryOptions = {}): Promise<FakeRegistry> {
  const registry = await startFakeRegistry(options);
  open.push(registry);
  return registry;
}

function clientOf(registry: FakeRegistry, options: Partial<RegistryClientOptions> = {}): RegistryClient {
  const insecure = registry.url.startsWith('http:');
  const client = new RegistryClient({ registry: registry.host, insecure, random: () => 0, ...options });
  open.push(client);
  return client;
}

function blobOf(bytes: Uint8Array | string): Descriptor {
  const size = Buffer.from(bytes).length;
  return { mediaType: 'application/octet-stream', digest: digestOf(bytes), size };
}

/** Moves the clock on whenever a call waits to try again, until it is done. */
async function passTime(clock: FakeClock, call: Promise<unknown>): Promise<void> {
  const ended: true[] = [];
  const end = (): void => void ended.push(true);
  call.then(end, end);
  for (;;) {
    // One sleeper is the deadline of the call, the other its back-off.
    await eventually(() => ended.length > 0 || clock.sleeping === 2);
    if (ended.length > 0) return;
    await clock.advance(1000);
  }
}

describe('manifests', () => {
  it('are written, asked for, read and deleted', async () => {
    const client = clientOf(await registryOf());
    expect(await client.headManifest(REPO, 'v1')).toBeUndefined();
    const digest = await client.putManifest(REPO, 'v1', EMPTY, MEDIA_TYPES.imageManifest);
    expect(digest).toBe(digestOf(EMPTY));
    const descriptor = { mediaType: MEDIA_TYPES.imageManifest, digest, size: EMPTY.length };
    expect(await client.headManifest(REPO, 'v1')).toEqual(descriptor);
    expect(await client.headManifest(REPO, digest)).toEqual(descriptor);
    expect(await client.getManifest(REPO, 'v1')).toEqual({
      bytes: EMPTY,
      mediaType: MEDIA_TYPES.imageManifest,
      digest,
    });
    expect(await client.listTags(REPO)).toEqual(['v1']);
    await client.deleteManifest(REPO, digest);
    await expect(client.getManifest(REPO, 'v1')).rejects.toMatchObject({ code: 'ManifestUnknown' });
  });

  it('are asked for with one HEAD, and with a GET only when a header is missing', async () => {
    const registry = await registryOf();
    registry.addManifest(REPO, EMPTY, 'v1');
    await clientOf(registry).headManifest(REPO, 'v1');
    expect(registry.requests.map((request) => request.method)).toEqual(['HEAD']);

    const poor = await registryOf({ digestHeader: false });
    poor.addManifest(REPO, EMPTY, 'v1');
    expect((await clientOf(poor).headManifest(REPO, 'v1'))?.digest).toBe(digestOf(EMPTY));
    expect(poor.requests.map((request) => request.method)).toEqual(['HEAD', 'GET']);
  });

  it('that were tampered with are refused', async () => {
    const registry = await registryOf();
    const digest = registry.addManifest(REPO, EMPTY, 'v1');
    registry.fail({ method: 'GET', fault: { kind: 'tamper' } });
    const client = clientOf(registry);
    await expect(client.getManifest(REPO, digest)).rejects.toMatchObject({ code: 'DigestMismatch' });
    await expect(client.getManifest(REPO, 'v1')).rejects.toMatchObject({ code: 'DigestMismatch' });
  });

  it('of the wrong kind or size are refused', async () => {
    const registry = await registryOf();
    registry.addManifest(REPO, 'hello', 'text');
    registry.addManifest(REPO, Buffer.alloc(4 * 1024 * 1024 + 1), 'huge');
    const client = clientOf(registry);
    await expect(client.getManifest(REPO, 'text')).rejects.toMatchObject({ code: 'ManifestInvalid' });
    await expect(client.getManifest(REPO, 'huge')).rejects.toMatchObject({ code: 'TooLarge' });
  });

  it.each([
    ['mural/../etc', 'v1'],
    ['mural?x', 'v1'],
    [REPO, '../v1'],
    [REPO, 'sha256:12'],
  ])('of %s %s are never asked for', async (repository, reference) => {
    const registry = await registryOf();
    const asked = clientOf(registry).getManifest(repository, reference);
    await expect(asked).rejects.toMatchObject({ code: 'ReferenceInvalid' });
    expect(registry.requests).toEqual([]);
  });
});

describe('blobs', () => {
  it('are sent once, from memory or a stream', async () => {
    const registry = await registryOf();
    const client = clientOf(registry);
    const bytes = Buffer.alloc(300_000, 'x');
    expect(await client.putBlob(REPO, { ...blobOf(bytes), bytes })).toBe(true);
    expect(await client.putBlob(REPO, { ...blobOf(bytes), bytes })).toBe(false);
    const other = Buffer.alloc(300_000, 'y');
    expect(await client.putBlob(REPO, { ...blobOf(other), open: () => Readable.from([other]) })).toBe(true);
    expect(registry.blob(REPO, digestOf(other))).toEqual(other);
    expect(registry.requests.map((request) => request.method)).toEqual([
      'HEAD',
      'POST',
      'PUT',
      'HEAD',
      'HEAD',
      'POST',
      'PUT',
    ]);
  });

  it('are read whole or piece by piece', async () => {
    const registry = await registryOf();
    const bytes = Buffer.alloc(1_000_000, 'mural');
    registry.addBlob(REPO, bytes);
    const client = clientOf(registry);
    expect(await client.getBlob(REPO, blobOf(bytes))).toEqual(bytes);
    expect(await buffer(client.streamBlob(REPO, blobOf(bytes)))).toEqual(bytes);
    await expect(client.getBlob(REPO, blobOf('other'))).rejects.toMatchObject({ code: 'BlobUnknown' });
  });

  it('that were tampered with or have another size are refused, streams before their last piece', async () => {
    const registry = await registryOf();
    const bytes = Buffer.alloc(1_000_000, 'mural');
    registry.addBlob(REPO, bytes);
    const client = clientOf(registry);
    for (const size of [bytes.length - 1, bytes.length + 1]) {
      const wrong = client.getBlob(REPO, { ...blobOf(bytes), size });
      await expect(wrong).rejects.toMatchObject({ code: 'DigestMismatch' });
    }
    registry.fail({ fault: { kind: 'tamper' } });
    await expect(client.getBlob(REPO, blobOf(bytes))).rejects.toMatchObject({ code: 'DigestMismatch' });
    let seen = 0;
    const reading = (async () => {
      for await (const piece of client.streamBlob(REPO, blobOf(bytes))) seen += piece.length;
    })();
    await expect(reading).rejects.toMatchObject({ code: 'DigestMismatch' });
    expect(seen).toBeLessThan(bytes.length);
  });
});

describe('deadlines', () => {
  it.each(['stall', 'stall-body'] as const)('end a %s', async (kind) => {
    const registry = await registryOf();
    const bytes = Buffer.alloc(100_000, 'x');
    registry.addBlob(REPO, bytes);
    registry.fail({ method: 'GET', fault: { kind } });
    const clock = new FakeClock();
    const client = clientOf(registry, { clock, timeoutMs: 60_000 });
    for (const read of [
      () => client.getBlob(REPO, blobOf(bytes)),
      () => buffer(client.streamBlob(REPO, blobOf(bytes))),
    ]) {
      const asked = registry.requests.length;
      const reading = expect(read()).rejects.toMatchObject({ code: 'TimedOut', retryable: true });
      await eventually(() => registry.requests.length > asked);
      await clock.advance(61_000);
      await reading;
    }
    expect(clock.sleeping).toBe(0);
  });

  it('give way to the signal of the caller', async () => {
    const registry = await registryOf();
    registry.fail({ fault: { kind: 'stall' } });
    const controller = new AbortController();
    const asking = clientOf(registry).headManifest(REPO, 'v1', controller.signal);
    await eventually(() => registry.requests.length === 1);
    controller.abort(new Error('the object is gone'));
    await expect(asking).rejects.toThrow('the object is gone');
  });
});

describe('retries', () => {
  it.each([
    ['a cut connection', { kind: 'reset' } as const],
    ['503', { kind: 'answer', status: 503 } as const],
    ['429', { kind: 'answer', status: 429 } as const],
  ])('outlast %s', async (_name, fault) => {
    const registry = await registryOf();
    registry.addManifest(REPO, EMPTY, 'v1');
    registry.fail({ times: 2, fault });
    const clock = new FakeClock();
    const getting = clientOf(registry, { clock }).getManifest(REPO, 'v1');
    await passTime(clock, getting);
    expect((await getting).digest).toBe(digestOf(EMPTY));
  });

  it('wait as long as the registry asks', async () => {
    const registry = await registryOf();
    registry.addManifest(REPO, EMPTY, 'v1');
    registry.fail({ times: 1, fault: { kind: 'answer', status: 429, headers: { 'retry-after': '7' } } });
    const clock = new FakeClock();
    const getting = clientOf(registry, { clock }).getManifest(REPO, 'v1');
    await eventually(() => clock.sleeping === 2);
    await clock.advance(6900);
    expect(registry.requests).toHaveLength(1);
    await clock.advance(200);
    await getting;
  });

  it('come to an end, with the reason', async () => {
    const registry = await registryOf();
    const body = JSON.stringify({ errors: [{ code: 'TOOMANYREQUESTS', message: 'slow\ndown' }] });
    registry.fail({ method: 'GET', fault: { kind: 'answer', status: 429, body } });
    const clock = new FakeClock();
    const failing = clientOf(registry, { clock }).getManifest(REPO, 'v1');
    await passTime(clock, failing);
    await expect(failing).rejects.toMatchObject({
      code: 'RateLimited',
      message: expect.stringContaining('slow down') as string,
    });
    expect(registry.requests).toHaveLength(8);
  });

  it('outlast a registry that throttles for a while', async () => {
    const registry = await registryOf();
    registry.addManifest(REPO, EMPTY, 'v1');
    registry.fail({ times: 6, fault: { kind: 'answer', status: 429 } });
    const clock = new FakeClock();
    const started = clock.now();
    const getting = clientOf(registry, { clock }).getManifest(REPO, 'v1');
    await passTime(clock, getting);
    expect((await getting).digest).toBe(digestOf(EMPTY));
    expect(clock.now() - started).toBeGreaterThan(15_000);
  });

  it('that run out of time while the registry throttles say so', async () => {
    const registry = await registryOf();
    registry.fail({ fault: { kind: 'answer', status: 429 } });
    const clock = new FakeClock();
    const failing = clientOf(registry, { clock, timeoutMs: 5000 }).getManifest(REPO, 'v1');
    await passTime(clock, failing);
    await expect(failing).rejects.toMatchObject({ code: 'RateLimited' });
  });

  it('give up sooner on what is not a throttle', async () => {
    const registry = await registryOf();
    registry.fail({ fault: { kind: 'answer', status: 503 } });
    const clock = new FakeClock();
    const failing = clientOf(registry, { clock }).getManifest(REPO, 'v1');
    await passTime(clock, failing);
    await expect(failing).rejects.toMatchObject({ code: 'ServerError' });
    expect(registry.requests).toHaveLength(4);
  });

  it('are not spent on what no repetition mends', async () => {
    const registry = await registryOf();
    registry.fail({ fault: { kind: 'answer', status: 400 } });
    const refused = clientOf(registry).getManifest(REPO, 'v1');
    await expect(refused).rejects.toMatchObject({ code: 'RequestRefused' });
    expect(registry.requests).toHaveLength(1);
  });

  it('start an upload anew', async () => {
    const registry = await registryOf();
    registry.fail({ method: 'PUT', times: 1, fault: { kind: 'reset' } });
    const bytes = Buffer.from('content');
    const clock = new FakeClock();
    const putting = clientOf(registry, { clock }).putBlob(REPO, {
      ...blobOf(bytes),
      open: () => Readable.from([bytes]),
    });
    await eventually(() => clock.sleeping === 2);
    await clock.advance(500);
    await putting;
    expect(registry.blob(REPO, digestOf(bytes))).toEqual(bytes);
  });
});

describe('connections', () => {
  it('to nobody are Unreachable', async () => {
    const registry = await startFakeRegistry();
    await registry.close();
    const clock = new FakeClock();
    const client = clientOf(registry, { clock });
    const failing = client.ping();
    await passTime(clock, failing);
    await expect(failing).rejects.toMatchObject({ code: 'Unreachable', retryable: true });
  });

  it('by TLS need the CA, which is trusted beside the usual ones', async () => {
    const registry = await registryOf({ tls: TEST_TLS });
    registry.addManifest(REPO, EMPTY, 'v1');
    const untrusting = clientOf(registry).ping();
    await expect(untrusting).rejects.toMatchObject({ code: 'CertificateInvalid', retryable: false });
    expect((await clientOf(registry, { ca: TEST_TLS.ca }).headManifest(REPO, 'v1'))?.size).toBe(EMPTY.length);
  });

  it.each(['', 'nonsense', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'])(
    'refuse the CA %j at once',
    (ca) => {
      const make = (): RegistryClient => new RegistryClient({ registry: 'r.example', ca });
      expect(make).toThrow(expect.objectContaining({ code: 'CertificateInvalid' }) as Error);
    },
  );

  it('refuse what is not a registry', () => {
    expect(() => new RegistryClient({ registry: 'r.example/x' })).toThrow(/not a registry/);
  });
});

describe('redirects', () => {
  it('are followed for blobs, without the credentials', async () => {
    const bytes = Buffer.from('content');
    const store = await registryOf();
    store.addBlob(REPO, bytes);
    const credential = { username: 'u', password: 'p' };
    const registry = await registryOf({ credential });
    const location = `${store.url}/v2/${REPO}/blobs/${digestOf(bytes)}?signature=s`;
    const client = clientOf(registry, { credentials: credential });
    await client.ping();
    registry.fail({ path: /\/blobs\//, fault: { kind: 'answer', status: 307, headers: { location } } });
    expect(await client.getBlob(REPO, blobOf(bytes))).toEqual(bytes);
    expect(registry.requests.at(-1)?.authorization).toBeDefined();
    expect(store.requests.map((request) => request.authorization)).toEqual([undefined]);
  });

  it('end somewhere, and never lead from https to http', async () => {
    const registry = await registryOf();
    const endless = registry.fail({ fault: { kind: 'answer', status: 302, headers: { location: '/v2/' } } });
    await expect(clientOf(registry).ping()).rejects.toThrow(/redirected more than/);
    endless();
    const secure = await registryOf({ tls: TEST_TLS });
    secure.fail({ fault: { kind: 'answer', status: 302, headers: { location: `${registry.url}/v2/` } } });
    const asked = registry.requests.length;
    await expect(clientOf(secure, { ca: TEST_TLS.ca }).ping()).rejects.toMatchObject({
      code: 'RequestRefused',
    });
    expect(registry.requests).toHaveLength(asked);
  });

  it('of an upload to another host take no credentials along', async () => {
    const store = await registryOf();
    const credential = { username: 'u', password: 'p' };
    const registry = await registryOf({ credential });
    const headers = { location: `${store.url}/v2/${REPO}/blobs/uploads/1?state=a%2Bb%3D` };
    const client = clientOf(registry, { credentials: credential });
    await client.ping();
    registry.fail({ method: 'POST', fault: { kind: 'answer', status: 202, headers } });
    const bytes = Buffer.from('content');
    expect(await client.putBlob(REPO, { ...blobOf(bytes), bytes })).toBe(true);
    expect(store.requests.map((request) => request.authorization)).toEqual([undefined]);
    expect(store.blob(REPO, digestOf(bytes))).toEqual(bytes);
  });
});

describe('lists', () => {
  it('follow their pages, but to no other host', async () => {
    const registry = await registryOf();
    const page = (tags: string[], link: string): void => {
      const headers = { link: `<${link}>; rel="next"` };
      const body = JSON.stringify({ name: REPO, tags });
      registry.fail({ times: 1, fault: { kind: 'answer', status: 200, headers, body } });
    };
    registry.addManifest(REPO, EMPTY, 'c');
    page(['a'], `/v2/${REPO}/tags/list?n=1&last=a`);
    page(['b'], 'list?n=1&last=b');
    const client = clientOf(registry);
    expect(await client.listTags(REPO)).toEqual(['a', 'b', 'c']);
    page(['a'], 'http://registry.example/v2/x/tags/list');
    await expect(client.listTags(REPO)).rejects.toMatchObject({ code: 'RequestRefused' });
  });

  it('of referrers fall back to the tag of registries that have no such list', async () => {
    const registry = await registryOf();
    const subject = registry.addManifest(REPO, EMPTY, 'v1');
    const client = clientOf(registry);
    expect(await client.listReferrers(REPO, subject)).toEqual([]);
    const signature = {
      ...JSON.parse(EMPTY.toString()),
      artifactType: 'a/sig',
      subject: { ...blobOf(EMPTY), digest: subject },
    };
    const digest = registry.addManifest(REPO, JSON.stringify(signature));
    const found = await client.listReferrers(REPO, subject, 'a/sig');
    expect(found.map((one) => one.digest)).toEqual([digest]);
    expect(await client.listReferrers(REPO, subject, 'a/other')).toEqual([]);

    registry.fail({ path: /\/referrers\//, fault: { kind: 'answer', status: 404 } });
    expect(await client.listReferrers(REPO, subject)).toEqual([]);
    const index = {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.imageIndex,
      manifests: [{ ...blobOf('x'), artifactType: 'a/sig' }],
    };
    registry.addManifest(REPO, JSON.stringify(index), subject.replace(':', '-'), MEDIA_TYPES.imageIndex);
    expect(await client.listReferrers(REPO, subject, 'a/sig')).toHaveLength(1);
  });
});
