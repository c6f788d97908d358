import { afterEach, describe, expect, it } from 'vitest';
import { type FakeRegistry, type FakeRegistryOptions, startFakeRegistry } from '../testing.ts';
import type { PreflightCheck } from './check.ts';
import type { PreflightOptions } from './options.ts';
import { preflight } from './preflight.ts';

const open: FakeRegistry[] = [];
afterEach(async () => {
  for (const registry of open.splice(0)) await registry.close();
});

async function registryOf(options?: FakeRegistryOptions): Promise<FakeRegistry> {
  const registry = await startFakeRegistry(options);
  open.push(registry);
  return registry;
}

async function checksOf(url: string, options: Partial<PreflightOptions> = {}): Promise<PreflightCheck[]> {
  const all: PreflightCheck[] = [];
  const checks = preflight({
    url,
    role: 'push-and-pull',
    provider: 'generic',
    insecure: true,
    spokes: 1,
    movingTags: ['spoke-*'],
    groupSize: 250,
    putsPerSecond: 8,
    policyCommand: 'mural ecr policy',
    environment: {},
    ...options,
  });
  for await (const check of checks) all.push(check);
  return all;
}

const short = (checks: readonly PreflightCheck[]): string[] =>
  checks.map(({ status, check }) => `${status} ${check}`);

describe('the preflight of a registry that is not ECR', () => {
  it('connects, signs in, reads, and begins an upload that it gives up', async () => {
    const registry = await registryOf();
    const checks = await checksOf(`oci://${registry.host}/mural/workloads`);
    expect(short(checks)).toEqual([
      'ok connect',
      'ok authenticate',
      expect.stringMatching(/^(?:ok|warn) pull$/),
      'ok push',
    ]);
    expect(registry.requests.some(({ method }) => method === 'PUT')).toBe(false);
  });

  it('says when the registry does not take the credential, and shows no password', async () => {
    const credential = { username: 'hue', password: 'right-password' };
    const registry = await registryOf({ credential });
    const url = `oci://${registry.host}/mural/workloads`;
    const wrong = await checksOf(url, { credential: { username: 'hue', password: 'wrong-password' } });
    expect(short(wrong)).toEqual(['ok connect', 'fail authenticate']);
    expect(JSON.stringify(wrong)).not.toContain('wrong-password');
    const right = await checksOf(url, { credential });
    expect(short(right)).toContain('ok push');
  });

  it('says when nobody answers', async () => {
    const registry = await registryOf();
    const url = `oci://${registry.host}/mural/workloads`;
    await registry.close();
    open.length = 0;
    expect(short(await checksOf(url))).toEqual(['fail connect']);
  }, 20_000);

  it.each(['aws', 'azure', 'gcp'] as const)('refuses a host that is none of %s', async (provider) => {
    const checks = await checksOf('oci://registry.example.org/mural/workloads', { provider });
    expect(short(checks)).toEqual(['fail provider']);
  });

  it('ends when it is told to', async () => {
    const registry = await registryOf();
    const signal = AbortSignal.abort(new Error('stopped by the test'));
    const url = `oci://${registry.host}/mural/workloads`;
    await expect(checksOf(url, { signal })).rejects.toThrow('stopped by the test');
  });
});
