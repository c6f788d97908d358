import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { createLogger } from '@mural/core';
import { eventually } from '@mural/core/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { RegistryFixture } from '../fixture.ts';
import { selfSigned } from '../fixture-certificate.ts';
import type { RegistryOptions } from '../server.ts';
import { checkEvents, type EventEndpoint } from './event-options.ts';
import type { RegistryEvent } from './events.ts';

interface Notification {
  readonly id: string;
  readonly timestamp: string;
  readonly action: string;
  readonly target: Record<string, unknown>;
  readonly request: Record<string, unknown>;
  readonly actor: { readonly name?: string };
  readonly source: { readonly addr: string; readonly instanceID: string };
}

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** An endpoint that answers as a test says: with a status, or `undefined` for never. */
class Receiver {
  /** What comes next; 200 when there is none. */
  readonly answers: (number | undefined)[] = [];
  readonly requests: { headers: IncomingHttpHeaders; events: Notification[] }[] = [];
  readonly accepted: Notification[] = [];
  readonly url: string;

  private constructor(url: string) {
    this.url = url;
  }

  static async start(tls?: { cert: string; key: string }): Promise<Receiver> {
    const take = (request: IncomingMessage, response: ServerResponse): void => {
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.on('end', () => receiver.take(request.headers, body, response));
    };
    const server = tls === undefined ? createServer(take) : createTlsServer(tls, take);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const receiver = new Receiver(
      `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}/hook?key=planted-key`,
    );
    cleanups.push(
      () =>
        new Promise((resolve) => {
          server.close(resolve);
          server.closeAllConnections();
        }),
    );
    return receiver;
  }

  take(headers: IncomingHttpHeaders, body: string, response: ServerResponse): void {
    const { events } = JSON.parse(body) as { events: Notification[] };
    this.requests.push({ headers, events });
    const status = this.answers.length === 0 ? 200 : this.answers.shift();
    if (status === undefined) return;
    if (status < 300) this.accepted.push(...events);
    response.writeHead(status, { location: 'http://127.0.0.1:1/elsewhere' }).end('answer');
  }

  tags(): unknown[] {
    return this.accepted.map(({ target }) => target['tag']);
  }
}

async function start(
  endpoint: EventEndpoint,
  options: Partial<RegistryOptions> = {},
): Promise<RegistryFixture> {
  const fixture = await RegistryFixture.start({ events: { endpoints: [endpoint] }, ...options });
  cleanups.push(() => fixture.stop());
  return fixture;
}

const PATIENT = { timeout: 20_000 };

describe('events', () => {
  it('are sent as notifications of distribution: pushes and deletions of manifests and tags', async () => {
    const receiver = await Receiver.start();
    const users = [
      {
        name: 'ann',
        password: 'secret',
        policies: [{ repositories: '**', actions: ['read', 'create', 'update', 'delete'] as const }],
      },
    ];
    const fixture = await start({ name: 'hook', url: receiver.url }, { users });
    const { host, url } = fixture.registry;
    const pushed = await fixture.pushImage('team/app', 'v1');
    await fixture.send('GET', '/v2/team/app/manifests/v1');
    await fixture.send('DELETE', '/v2/team/app/manifests/v1', {
      as: 'ann:secret',
      headers: { 'x-request-id': 'mine', 'user-agent': 'test/1' },
    });
    await fixture.send('DELETE', `/v2/team/app/manifests/${pushed.digest}`);
    await eventually(() => receiver.accepted.length === 3);
    const size = Buffer.byteLength(pushed.bytes);
    const [push, untag, remove] = receiver.accepted;
    expect(push).toMatchObject({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      action: 'push',
      target: {
        mediaType: 'application/vnd.oci.image.manifest.v1+json',
        ...{ digest: pushed.digest, size, length: size, repository: 'team/app', tag: 'v1' },
        url: `${url}/v2/team/app/manifests/${pushed.digest}`,
      },
      request: { method: 'PUT', host, addr: expect.stringMatching(/^127\.0\.0\.1:\d+$/) },
      actor: {},
      source: { addr: host, instanceID: expect.any(String) },
    });
    expect(untag).toMatchObject({ action: 'delete', actor: { name: 'ann' } });
    expect(untag?.target).toEqual({ repository: 'team/app', tag: 'v1' });
    expect(untag?.request).toMatchObject({ id: 'mine', useragent: 'test/1', method: 'DELETE' });
    expect(remove?.target).toMatchObject({ digest: pushed.digest, repository: 'team/app' });
    expect(receiver.requests[0]?.headers['content-type']).toBe(
      'application/vnd.docker.distribution.events.v2+json',
    );
  });

  it('are those that an endpoint asks for: blobs, mounts, pulls, some repositories', async () => {
    const receiver = await Receiver.start();
    const fixture = await start({
      ...{ name: 'all', url: receiver.url, blobs: true, repositories: ['team/*'] },
      actions: ['push', 'mount', 'pull', 'delete'],
    });
    await fixture.pushImage('other/app', 'v1');
    const blob = await fixture.pushBlob('team/a', 'content');
    await fixture.send('POST', `/v2/team/b/blobs/uploads/?mount=${blob}&from=team/a`);
    await fixture.send('GET', `/v2/team/b/blobs/${blob}`);
    await fixture.send('DELETE', `/v2/team/b/blobs/${blob}`);
    await eventually(() => receiver.accepted.length === 4);
    expect(
      receiver.accepted.map(({ action, target }) => [action, target['repository'], target['fromRepository']]),
    ).toEqual([
      ['push', 'team/a', undefined],
      ['mount', 'team/b', 'team/a'],
      ['pull', 'team/b', undefined],
      ['delete', 'team/b', undefined],
    ]);
    expect(receiver.accepted[0]?.target).toMatchObject({ mediaType: 'application/octet-stream', size: 7 });
  });

  it('of several tags in one push are one each', async () => {
    const receiver = await Receiver.start();
    const fixture = await start({ name: 'hook', url: receiver.url });
    const { bytes, digest } = await fixture.pushImage('app', 'v1');
    await fixture.pushManifest('app', `${digest}?tag=a&tag=b`, bytes);
    await eventually(() => receiver.accepted.length === 3);
    expect(receiver.tags()).toEqual(['v1', 'a', 'b']);
  });

  it.each([
    ['answers 500', [500, 500]],
    ['answers with a redirect, which nobody follows', [307]],
    ['refuses', [403]],
    ['never answers', [undefined]],
  ])('come in order and once they can when an endpoint first %s', PATIENT, async (_what, answers) => {
    const receiver = await Receiver.start();
    receiver.answers.push(...answers);
    const fixture = await start({ name: 'slow', url: receiver.url, timeoutMs: 300 });
    for (const tag of ['a', 'b', 'c']) await fixture.pushImage('app', tag);
    await eventually(() => receiver.accepted.length >= 3, 15_000);
    expect(receiver.tags()).toEqual(['a', 'b', 'c']);
    expect(receiver.requests.length).toBeGreaterThan(answers.length);
  });

  it('survive a restart, with an endpoint that was away until then', PATIENT, async () => {
    const receiver = await Receiver.start();
    receiver.answers.push(503, 503, 503, 503, 503, 503);
    const fixture = await start({ name: 'away', url: receiver.url });
    for (const tag of ['a', 'b']) await fixture.pushImage('app', tag);
    await eventually(() => receiver.requests.length > 0);
    receiver.answers.splice(0);
    await fixture.restart();
    await eventually(() => receiver.accepted.length >= 2, 15_000);
    expect(receiver.tags()).toEqual(['a', 'b']);
  });

  it('are lost oldest first when too many wait, and that is counted', PATIENT, async () => {
    const receiver = await Receiver.start();
    receiver.answers.push(undefined);
    const endpoint = { name: 'small', url: receiver.url, queue: 2, timeoutMs: 200 };
    const fixture = await start(endpoint, { metrics: { port: 0 } });
    for (const tag of ['a', 'b', 'c', 'd']) await fixture.pushImage('app', tag);
    await eventually(() => receiver.accepted.length >= 2, 15_000);
    expect(receiver.tags().slice(-2)).toEqual(['c', 'd']);
    const metrics = await (await fetch(`${fixture.registry.metricsUrl ?? ''}/metrics`)).text();
    expect(metrics).toContain('mural_registry_events_dropped_total{endpoint="small"} 2');
    expect(metrics).toMatch(/mural_registry_event_deliveries_failed_total\{endpoint="small"\} [1-9]/);
  });

  it('go with their secret header over TLS that is checked, and no secret is logged', PATIENT, async () => {
    const certificate = selfSigned();
    const receiver = await Receiver.start(certificate);
    const lines: string[] = [];
    const log = createLogger({ level: 'trace', destination: { write: (line) => void lines.push(line) } });
    const headers = { Authorization: 'Bearer planted-token' };
    const trusted = { name: 'trusted', url: receiver.url, headers, ca: certificate.cert };
    const untrusted = { name: 'untrusted', url: receiver.url, headers };
    const fixture = await start(trusted, { log, events: { endpoints: [trusted, untrusted] } });
    receiver.answers.push(500);
    await fixture.pushImage('app', 'v1');
    await eventually(() => receiver.accepted.length >= 1, 15_000);
    await eventually(() => lines.some((line) => line.includes('"untrusted"')));
    expect(
      receiver.requests.every(({ headers: sent }) => sent.authorization === 'Bearer planted-token'),
    ).toBe(true);
    expect(receiver.tags()).toEqual(['v1']);
    expect(lines.join('')).toContain('events could not be delivered');
    expect(lines.join('')).not.toMatch(/planted|hook\?/);
  });

  it('are told in the process too, in the turn of the change, and end with the subscription', async () => {
    const fixture = await RegistryFixture.start();
    cleanups.push(() => fixture.stop());
    const told: RegistryEvent[] = [];
    fixture.registry.onEvent(() => {
      throw new Error('a listener that fails');
    });
    const end = fixture.registry.onEvent((event) => told.push(event));
    const { digest } = await fixture.pushImage('app', 'v1');
    await fixture.send('GET', '/v2/app/manifests/v1');
    expect(told.map(({ action, kind }) => `${action} ${kind}`)).toEqual([
      'push blob',
      'push blob',
      'push manifest',
    ]);
    expect(told[2]).toMatchObject({ repository: 'app', tag: 'v1', digest });
    end();
    await fixture.pushImage('app', 'v2');
    expect(told).toHaveLength(3);
  });

  it('tell of what a collection removed', async () => {
    const retention = [{ repositories: '**', tags: [{ tags: 'ci-*', keepNewest: 1 }] }];
    const fixture = await RegistryFixture.start({ maintenance: { graceMs: 0, retention }, useMs: 0 });
    cleanups.push(() => fixture.stop());
    for (const tag of ['ci-1', 'ci-2']) await fixture.pushImage('app', tag);
    const told: RegistryEvent[] = [];
    fixture.registry.onEvent((event) => told.push(event));
    await eventually(async () => {
      await fixture.registry.maintenance.collect();
      return told.length > 0;
    });
    expect(told[0]).toMatchObject({ action: 'delete', kind: 'manifest', repository: 'app', tag: 'ci-1' });
    expect(told[0]).not.toHaveProperty('actor');
  });
});

describe('checkEvents', () => {
  const good = { name: 'a', url: 'https://consumer.example/events?key=planted' };

  it.each([
    ['endpoints[0].name', { ...good, name: '' }],
    ['endpoints[0].name', { ...good, name: 'a b' }],
    ['endpoints[0].url', { ...good, url: 'planted' }],
    ['endpoints[0].url', { ...good, url: 'ftp://planted.example' }],
    ['endpoints[0].url', { ...good, url: 'https://user:planted@consumer.example' }],
    ['endpoints[0].url', { ...good, url: 'http://127.planted.example/', headers: { 'X-Key': 'planted' } }],
    ['endpoints[0].headers', { ...good, headers: { 'content-length': 'planted' } }],
    ['endpoints[0].headers', { ...good, headers: { 'X-Key': 'planted\r\nEvil: 1' } }],
    ['endpoints[0].timeout', { ...good, timeoutMs: 0 }],
    ['endpoints[0].timeout', { ...good, timeoutMs: 1e9 }],
    ['endpoints[0].queue', { ...good, queue: 0 }],
    ['endpoints[0].actions', { ...good, actions: [] }],
    ['endpoints[0].repositories', { ...good, repositories: [] }],
  ])('says where it is wrong, at %s, and nothing secret', (at, endpoint: EventEndpoint) => {
    let error: unknown;
    try {
      checkEvents({ endpoints: [endpoint] });
    } catch (caught) {
      error = caught;
    }
    expect(error).toMatchObject({ code: 'EventsInvalid', facts: { at } });
    expect(String(error)).not.toContain('planted');
  });

  it('takes plain HTTP without headers, and with them to this machine', () => {
    checkEvents({ endpoints: [{ ...good, url: 'http://consumer.example/' }] });
    checkEvents({ endpoints: [{ ...good, url: 'http://[::1]:80/', headers: { 'X-Key': 'k' } }] });
    expect(() => checkEvents({ endpoints: [good, good] })).toThrow('a is there twice');
  });
});
