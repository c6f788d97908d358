import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Stored } from '../objects.ts';
import { Database } from './database.ts';
import { createSeal } from './seal.ts';
import { Store } from './store.ts';

const KEY = Buffer.alloc(32, 1);

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mural-store-'));
});
afterEach(() => rm(directory, { recursive: true }));

function open(key = KEY, limits?: { changes: number; bytes: number }): Store {
  return new Store(new Database(directory, createSeal(key), 10), limits);
}

function object(name: string, fields: object = {}): Stored {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'ns' }, ...fields };
}

describe('the store', () => {
  it('shows a write to others only when it is durable, and to later writes of its batch at once', async () => {
    const store = open();
    const first = store.write((transaction) => transaction.put('configmaps', object('a')));
    expect(store.get('configmaps', 'ns', 'a')).toBeUndefined();
    const second = store.write(
      (transaction) => transaction.get('configmaps', 'ns', 'a')?.metadata.resourceVersion,
    );
    expect(await second).toBe((await first).metadata.resourceVersion);
    expect(store.get('configmaps', 'ns', 'a')).toBeDefined();
    store.close();
  });

  it('takes back all of a write that fails, and nothing of its neighbours', async () => {
    const store = open();
    const good = store.write((transaction) => transaction.put('configmaps', object('good')));
    const bad = store.write((transaction) => {
      transaction.put('configmaps', object('bad'));
      transaction.remove('configmaps', object('good'));
      throw new Error('no');
    });
    const after = store.write((transaction) => transaction.get('configmaps', 'ns', 'good')?.metadata.name);
    await expect(bad).rejects.toThrow('no');
    expect(await after).toBe('good');
    await good;
    expect(store.list('configmaps').map((one) => one.metadata.name)).toEqual(['good']);
    store.close();
  });

  it('shows the state of an earlier revision as long as it remembers', async () => {
    const store = open(KEY, { changes: 4, bytes: 1e6 });
    await store.write((transaction) => transaction.put('configmaps', object('a', { n: 1 })));
    const at = store.revision;
    await store.write((transaction) => transaction.put('configmaps', object('a', { n: 2 })));
    await store.write((transaction) => transaction.put('configmaps', object('b')));
    expect(store.listAt(at, 'configmaps').map((one) => [one.metadata.name, one['n']])).toEqual([['a', 1]]);
    for (let n = 0; n < 5; n += 1) {
      await store.write((transaction) => transaction.put('configmaps', object('c', { n })));
    }
    expect(store.floor).toBeGreaterThan(at);
    store.close();
  });

  it('finds everything again after it was closed, revision included', async () => {
    const store = open();
    await store.write((transaction) => transaction.put('configmaps', object('a')));
    await store.write((transaction) => transaction.remove('configmaps', object('a')));
    await store.write((transaction) => transaction.put('configmaps', object('b')));
    const { revision } = store;
    store.close();
    const again = open();
    expect(again.revision).toBe(revision);
    expect(again.list('configmaps').map((one) => one.metadata.name)).toEqual(['b']);
    again.close();
  });

  it('keeps Secrets encrypted in its files, and says so when the key is another', async () => {
    const store = open();
    const secret = { ...object('s'), kind: 'Secret', data: { password: 'aHVudGVyMi1odW50ZXIy' } };
    await store.write((transaction) => transaction.put('secrets', secret));
    await store.write((transaction) => transaction.put('configmaps', object('plain', { marker: 'find-me' })));
    const read = async (): Promise<string> => {
      const files = await readdir(directory);
      const contents = await Promise.all(files.map((file) => readFile(join(directory, file), 'latin1')));
      return contents.join('');
    };
    expect(await read()).toContain('find-me');
    expect(await read()).not.toContain('aHVudGVyMi1odW50ZXIy');
    store.close();
    expect(await read()).not.toContain('aHVudGVyMi1odW50ZXIy');
    expect(() => open(Buffer.alloc(32, 2))).toThrow('does not open with this key');
    const again = open();
    expect(again.get('secrets', 'ns', 's')?.['data']).toEqual(secret.data);
    again.close();
  });

  it('belongs to one process at a time', async () => {
    const store = open();
    expect(() => open()).toThrow('another process uses this data folder');
    store.close();
    open().close();
  });

  it('has lost nothing that it acknowledged when the process is killed', async () => {
    const script = fileURLToPath(new URL('../testing/endless-writer.ts', import.meta.url));
    const child = spawn(process.execPath, [script, directory], { stdio: ['ignore', 'pipe', 'inherit'] });
    let acknowledged = -1;
    for await (const line of createInterface({ input: child.stdout })) {
      acknowledged = Number(line);
      if (acknowledged === 300) child.kill('SIGKILL');
    }
    expect(acknowledged).toBeGreaterThanOrEqual(300);
    const store = open();
    const numbers = new Set(store.list('configmaps').map((one) => one['n']));
    for (let n = 0; n <= acknowledged; n += 1) expect(numbers.has(n)).toBe(true);
    expect(store.revision).toBeGreaterThanOrEqual(acknowledged + 1);
    store.close();
  });
});
