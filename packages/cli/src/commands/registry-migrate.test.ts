import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MigrationPreview } from '@mural/hub';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../testing/run.ts';
import { previewText, progressTo } from './registry-migrate-output.ts';
import { waveSizeOption } from './registry-migrate.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mural-migrate-'));
});
afterAll(async () => rm(folder, { recursive: true, force: true }));

const PREVIEW: MigrationPreview = {
  ...{
    phase: 'Copying',
    source: 'oci://old.example/mural/workloads',
    target: 'oci://new.example/fleet/workloads',
  },
  ...{ artifacts: 12, toCopy: 10, bytes: 3_500_000, missing: [], waves: [1, 2, 2], warnings: [] },
  spokes: { toMove: ['a', 'b', 'c', 'd', 'e'], moved: [], unheard: ['e'], silent: ['flux-only'] },
};

describe('mural registry migrate', () => {
  it('explains itself', async () => {
    const { code, out } = await run(['registry', 'migrate', '--help']);
    expect(code).toBe(0);
    for (const word of [
      '--dry-run',
      '--rollback',
      '--assume-switched',
      'default: 10%',
      'default: 10m',
      'Examples:',
    ]) {
      expect(out.replace(/\s+/g, ' ')).toContain(word);
    }
  });

  it.each([
    [['--to', 'new.yaml'], "required option '--values <old>' not specified"],
    [['--values', 'old.yaml', '--to', 'new.yaml', '--wave-size', '0'], 'a number of spokes, such as 5'],
    [
      ['--values', 'old.yaml', '--to', 'new.yaml', '--timeout', 'soon'],
      "'--timeout <duration>' argument 'soon'",
    ],
  ])('refuses %j', async (args, message) => {
    const { code, err } = await run(['registry', 'migrate', ...args]);
    expect(code).toBe(2);
    expect(err).toContain(message);
  });

  it('stops at errors in a file before it looks for anything', async () => {
    const kubeconfig = join(folder, 'kubeconfig');
    const cluster = { server: 'https://127.0.0.1:1' };
    await writeFile(
      kubeconfig,
      JSON.stringify({
        ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'a' },
        clusters: [{ name: 'a', cluster }],
        users: [{ name: 'a', user: { token: 't' } }],
        contexts: [{ name: 'a', context: { cluster: 'a', user: 'a' } }],
      }),
    );
    await writeFile(join(folder, 'old.yaml'), 'hue: {ociRegistry: {endpoint: "https://x.example"}}\n');
    await writeFile(join(folder, 'new.yaml'), '');
    const args = ['--values', 'old.yaml', '--to', 'new.yaml', '--kubeconfig', kubeconfig];
    const { code, err } = await run(['registry', 'migrate', ...args], { cwd: folder });
    expect(code).toBe(1);
    expect(err).toContain('old.yaml:1:');
    expect(err).toContain('error: old.yaml is not valid');
  });
});

describe('what it prints', () => {
  it('tells a plan', () => {
    expect(previewText(PREVIEW, ['a', 'b'])).toBe(
      [
        'from oci://old.example/mural/workloads',
        'to   oci://new.example/fleet/workloads',
        'phase      Copying',
        'artifacts  12 in use, 10 to copy, 3.3 MiB',
        'spokes     5 to move, 0 moved already',
        'waves      3: 1, 2, 2',
        'not heard at present; waited for in the last waves: e',
        'never reported or suspended; stay, and the old registry with them, unless --assume-switched: flux-only',
        'need Secrets in their clusters before (--print-secrets): a, b',
        'Nothing was changed.',
        '',
      ].join('\n'),
    );
  });

  it('gives results to stdout and progress to stderr, and with json lines that programs can read', () => {
    const told = { out: '', err: '' };
    const context = {
      ...{ env: {}, cwd: folder, signal: new AbortController().signal, interactive: false },
      out: (text: string) => void (told.out += text),
      err: (text: string) => void (told.err += text),
      exitWith: () => undefined,
    };
    const text = progressTo(context, 'text', () => 0);
    text.event({ type: 'step', step: 'copy', message: '2 artifacts' });
    text.event({ type: 'copied', done: 1, total: 2, bytes: 0 });
    text.event({ type: 'copied', done: 2, total: 2, bytes: 512 });
    text.event({ type: 'spoke', spoke: 'edge-1', url: 'oci://new.example/a/b' });
    text.say('It can be removed.');
    expect(told.err).toBe(
      '► copy: 2 artifacts\n  2/2 artifacts are there and proven, 512 bytes sent\n  ✔ edge-1 reads oci://new.example/a/b\n',
    );
    expect(told.out).toBe('It can be removed.\n');
    told.out = '';
    progressTo(context, 'json', () => 0).event({ type: 'warning', message: 'x' });
    expect(JSON.parse(told.out)).toEqual({ time: '1970-01-01T00:00:00.000Z', type: 'warning', message: 'x' });
  });

  it('reads sizes of waves', () => {
    expect([waveSizeOption('5'), waveSizeOption('10%')]).toEqual([{ spokes: 5 }, { percent: 10 }]);
    for (const bad of ['0', '0%', '101%', '-1', '1.5', 'all', ''])
      expect(() => waveSizeOption(bad)).toThrow();
  });
});
