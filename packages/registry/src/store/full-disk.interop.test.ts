import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { errorCode, sendTo } from '../fixture.ts';
import { type Digest, digestOf } from '../names.ts';
import { type RunningRegistry, startRegistry } from '../server.ts';

/** A file system of its own needs a mount, which needs root. */
const mayMount = process.platform === 'linux' && process.getuid?.() === 0;

const cleanups: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function onDisk(options: string): Promise<{ registry: RunningRegistry; directory: string }> {
  const directory = mkdtempSync(join(tmpdir(), 'mural-disk-'));
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'none', directory]);
  cleanups.push(() => void execFileSync('umount', [directory]));
  const registry = await startRegistry({ port: 0, dataDir: directory, anonymous: 'push' });
  cleanups.push(() => registry.close());
  return { registry, directory };
}

async function push({ host }: RunningRegistry, content: Buffer): Promise<number> {
  const path = `/v2/a/blobs/uploads/?digest=${digestOf(content)}`;
  const answer = await sendTo(host, 'POST', path, { body: content });
  if (answer.status !== 201) expect(errorCode(answer)).toBe('UNAVAILABLE');
  return answer.status;
}

async function reads({ host }: RunningRegistry, digest: Digest): Promise<number> {
  return (await sendTo(host, 'GET', `/v2/a/blobs/${digest}`)).status;
}

it.runIf(mayMount)(
  'a full disk: the failed push frees its bytes, small pushes work at once, reads never stop',
  async () => {
    const { registry, directory } = await onDisk('size=16m');
    const small = randomBytes(1000);
    expect(await push(registry, small)).toBe(201);
    const large = randomBytes(40_000_000);
    const begun = await sendTo(registry.host, 'POST', '/v2/a/blobs/uploads/');
    // Chunks whose sum does not fit: each of them is refused only once there is no room.
    let refused = 0;
    for (let start = 0; refused === 0 && start < large.length; start += 3_000_000) {
      const body = large.subarray(start, start + 3_000_000);
      const answer = await sendTo(registry.host, 'PATCH', String(begun.headers.location), { body });
      if (answer.status !== 202) refused = answer.status;
    }
    expect(refused).toBe(507);
    expect(readdirSync(join(directory, 'uploads'))).toEqual([]);
    expect(await push(registry, randomBytes(1000))).toBe(201);
    expect(await registry.maintenance.state()).toEqual({ writable: true });
    expect(await push(registry, large)).toBe(507);
    expect(await push(registry, randomBytes(1000))).toBe(201);
    for (let turn = 0; turn < 40 && (await push(registry, randomBytes(400_000))) === 201; turn += 1);
    expect(await push(registry, randomBytes(400_000))).toBe(507);
    expect(await reads(registry, digestOf(small))).toBe(200);
  },
);

it.runIf(mayMount)('no inodes: pushes are refused, reads go on, and a delete makes room', async () => {
  const { registry, directory } = await onDisk('size=64m,nr_inodes=60');
  const pushed: Buffer[] = [];
  let status = 201;
  while (status === 201 && pushed.length < 100) {
    const content = randomBytes(100);
    status = await push(registry, content);
    if (status === 201) pushed.push(content);
  }
  expect(status).toBe(507);
  // A blob may need a folder besides its file, and then leaves one inode.
  takeInodes(directory);
  const first = digestOf(pushed[0] ?? Buffer.of());
  const second = digestOf(pushed[1] ?? Buffer.of());
  expect(await reads(registry, first)).toBe(200);
  expect(await registry.maintenance.state()).toEqual({ writable: false, reason: 'full' });
  expect((await sendTo(registry.host, 'DELETE', `/v2/a/blobs/${second}`)).status).toBe(202);
  expect((await sendTo(registry.host, 'DELETE', `/v2/a/blobs/${first}`)).status).toBe(202);
  expect(await registry.maintenance.state()).toEqual({ writable: true });
});

it.runIf(mayMount)(
  'a disk that is made read-only: writes are refused until it is not, reads go on',
  async () => {
    const { registry, directory } = await onDisk('size=64m');
    const content = randomBytes(1000);
    expect(await push(registry, content)).toBe(201);
    execFileSync('mount', ['--bind', directory, directory]);
    cleanups.push(() => void execFileSync('umount', [directory]));
    execFileSync('mount', ['-o', 'remount,ro,bind', directory]);
    expect(await push(registry, randomBytes(1000))).toBe(503);
    expect(await push(registry, randomBytes(600_000))).toBe(503);
    expect(await reads(registry, digestOf(content))).toBe(200);
    expect(await registry.maintenance.state()).toEqual({ writable: false, reason: 'failing' });
    execFileSync('mount', ['-o', 'remount,rw,bind', directory]);
    expect(await push(registry, randomBytes(1000))).toBe(201);
    expect(await registry.maintenance.state()).toEqual({ writable: true });
  },
);

/** Makes empty files until there is no inode for another. */
function takeInodes(directory: string): void {
  expect(() => {
    for (let index = 0; index < 100; index += 1) {
      writeFileSync(join(directory, `taken-${index}`), '', { flag: 'wx' });
    }
  }).toThrow(/ENOSPC/);
}
