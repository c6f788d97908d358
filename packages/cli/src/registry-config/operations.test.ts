import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../testing/run.ts';
import { readRegistryConfig, type RegistryConfig } from './read.ts';

describe('metrics and events of a configuration', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mural-config-'));
    await writeFile(join(folder, 'events-authorization'), 'Bearer planted-token\n');
    await writeFile(join(folder, 'two-lines'), 'planted\nplanted\n');
    await writeFile(join(folder, 'consumer-ca.crt'), 'a certificate');
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  async function read(text: string): Promise<{ config?: RegistryConfig; told: string }> {
    await writeFile(join(folder, 'registry.yaml'), text);
    let told = '';
    const source = {
      ...{ file: 'registry.yaml', cwd: folder },
      read: async (path: string) => readFile(path, 'utf8'),
      tell: (line: string) => {
        told += line;
      },
    };
    try {
      return { config: await readRegistryConfig(source), told };
    } catch (error) {
      expect(error).toMatchObject({ name: 'CliError' });
      return { told };
    }
  }

  it('are as the documentation shows them', async () => {
    const page = await readFile(new URL('../../../../docs/registry.md', import.meta.url), 'utf8');
    const example = /```yaml\n(metrics:[\s\S]*?)```/.exec(page)?.[1] ?? '';
    const { config, told } = await read(example);
    expect(told).toBe('');
    expect(config?.metrics).toEqual({ port: 9090, listen: '127.0.0.1', users: ['prometheus'] });
    expect(config?.events.endpoints).toEqual([
      {
        name: 'deployments',
        url: 'https://consumer.example.com/events',
        headers: { Authorization: 'Bearer planted-token' },
        ca: 'a certificate',
        timeoutMs: 5000,
        actions: ['push', 'delete', 'mount'],
        repositories: ['team/**'],
        blobs: false,
        queue: 10_000,
      },
    ]);
    expect(config?.files.map((file) => file.replace(`${folder}/`, ''))).toContain('events-authorization');
  });

  it.each([
    ['metrics: { port: 70000 }', /:1:12: error: metrics\.port: /],
    ['metrics: { listen: 0.0.0.0 }', /:1:12: error: metrics\.listen: needs a port/],
    ['metrics: { port: 1, listen: everywhere }', /metrics\.listen: must be an IP address/],
    ['metrics: { prt: 1 }', /metrics\.prt: is not a known key; did you mean port\?/],
    ['events:\n  endpoints:\n    - { name: a }', /:3:7: error: events\.endpoints\[0\]\.url: is missing/],
    [
      'events:\n  endpoints:\n    - name: a\n      url: http://planted.example\n      headers: [{ name: X-Key, value: planted }]',
      /:4:7: error: events\.endpoints\[0\]\.url: must be https where headers are given/,
    ],
    [
      'events: { endpoints: [{ name: a, url: "https://a.example", headers: [{ name: X-Key }] }] }',
      /headers\[0\]: X-Key needs a value or a valueFile/,
    ],
    [
      'events: { endpoints: [{ name: a, url: "https://a.example", headers: [{ name: X, valueFile: two-lines }] }] }',
      /headers\[0\]\.valueFile: two-lines must hold one line with the value/,
    ],
    [
      'events: { endpoints: [{ name: a, url: "https://a.example", actions: [psuh] }] }',
      /actions\[0\]: .*"push"/,
    ],
    [
      'events: { endpoints: [{ name: a, url: "https://a.example", queue: 0 }] }',
      /endpoints\[0\]\.queue: must be a whole number from 1/,
    ],
  ])('are told with their place when they are wrong: %s', async (text, said) => {
    const { told } = await read(text);
    expect(told).toMatch(said);
    expect(told).not.toMatch(/planted/);
  });

  it('are refused as options that do not fit', async () => {
    const { code, err } = await run(['registry', 'serve', '--metrics-listen', '0.0.0.0'], { cwd: folder });
    expect(code).not.toBe(0);
    expect(err).toContain('--metrics-listen needs a port');
  });
});
