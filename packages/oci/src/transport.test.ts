import { afterEach, describe, expect, it } from 'vitest';
import { RegistryClient, type RegistryClientOptions } from './index.ts';
import { type FakeRegistry, startFakeProxy, startFakeRegistry, TEST_TLS_NAMES } from './testing.ts';

const REPO = 'mural/workloads';

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

function portOf(registry: FakeRegistry): number {
  return Number(registry.host.split(':')[1]);
}

function client(options: RegistryClientOptions): RegistryClient {
  const made = new RegistryClient({ timeoutMs: 5000, ...options });
  open.push(made);
  return made;
}

describe('a proxy of the environment', () => {
  it('carries calls to a registry on https in a tunnel, with TLS from end to end', async () => {
    const credential = { username: 'hub', password: 'secret' };
    const registry = await startFakeRegistry({ tls: TEST_TLS_NAMES, credential });
    open.push(registry);
    const proxy = await startFakeProxy(() => portOf(registry), `Basic ${btoa('me:pass word')}`);
    open.push(proxy);
    const environment = { HTTPS_PROXY: proxy.url.replace('http://', 'http://me:pass%20word@') };
    const { ca } = TEST_TLS_NAMES;
    const one = client({ registry: 'registry.example', ca, credentials: credential, environment });
    await one.ping();
    expect(await one.headManifest(REPO, 'a')).toBeUndefined();
    expect(new Set(proxy.seen.map(({ asked }) => asked))).toEqual(new Set(['CONNECT registry.example:443']));
  });

  it('carries calls to a registry on http as they are', async () => {
    const registry = await startFakeRegistry();
    open.push(registry);
    const proxy = await startFakeProxy(() => portOf(registry));
    open.push(proxy);
    const environment = { HTTP_PROXY: proxy.url };
    await client({ registry: 'registry.example:5000', insecure: true, environment }).ping();
    expect(proxy.seen.map(({ asked }) => asked)).toEqual(['GET http://registry.example:5000/v2/']);
  });

  it('is left out for the loopback and what NO_PROXY lists', async () => {
    const registry = await startFakeRegistry();
    open.push(registry);
    const proxy = await startFakeProxy(() => undefined);
    open.push(proxy);
    const environment = { HTTP_PROXY: proxy.url };
    await client({ registry: registry.host, insecure: true, environment }).ping();
    expect(proxy.seen).toEqual([]);
  });

  it.each(['https', 'http'])('that refuses a call to %s is named, without its password', async (scheme) => {
    const proxy = await startFakeProxy(() => undefined, 'Basic other');
    open.push(proxy);
    const url = proxy.url.replace('http://', 'http://me:hunter2@');
    const one = client({
      registry: 'registry.example',
      insecure: scheme === 'http',
      environment: { HTTPS_PROXY: url, HTTP_PROXY: url },
      timeoutMs: 2000,
    });
    const error = (await one.ping().catch((caught: unknown) => caught)) as Error & { cause?: Error };
    expect(error).toMatchObject({ code: 'Unreachable', facts: { proxy: new URL(proxy.url).host } });
    expect(error.message).toContain('through the proxy');
    expect(`${error.message} ${JSON.stringify(error)} ${String(error.cause)}`).not.toContain('hunter2');
  });

  it('that cannot be read is ProxyInvalid', async () => {
    const one = client({
      registry: 'registry.example',
      environment: { HTTPS_PROXY: 'socks5://me:hunter2@p' },
    });
    const error: unknown = await one.ping().catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: 'ProxyInvalid', retryable: false });
    expect(`${String(error)} ${JSON.stringify(error)}`).not.toContain('hunter2');
  });
});
