import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { eventually } from '@mural/core/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { IMAGE, imageOf, sendTo } from '../fixture.ts';
import { type Digest, digestOf } from '../names.ts';

const CHILD = new URL('./crash-child.ts', import.meta.url).pathname;
const ROUNDS = 6;

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mural-crash-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

interface Running {
  readonly host: string;
  readonly process: ChildProcess;
}

async function spawnRegistry(): Promise<Running> {
  const child = spawn(process.execPath, [CHILD, directory], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout });
  const [host] = (await once(lines, 'line')) as [string];
  return { host, process: child };
}

async function kill({ process: child }: Running): Promise<void> {
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

/** What the registry has answered 201 to. */
interface Acknowledged {
  readonly blobs: Set<Digest>;
  /** Digests by `repository:tag`. */
  readonly tags: Map<string, Digest>;
  readonly manifests: Map<Digest, string>;
}

/** Pushes images of all sizes until the registry dies, and notes each acknowledgement. */
async function pushUntilDeath(host: string, client: number, seen: Acknowledged): Promise<void> {
  const repository = `crash/r${client}`;
  try {
    for (let turn = 0; ; turn += 1) {
      const config = await pushBlob(host, repository, Buffer.from('{}'), seen);
      const content = randomBytes(turn % 3 === 0 ? 700_000 : 500);
      const layer = { digest: await pushBlob(host, repository, content, seen), size: content.length };
      const manifest = imageOf(config, layer);
      const tag = `t${turn % 5}`;
      // From here on the tag may be either; it counts again once this push is acknowledged.
      seen.tags.delete(`${repository}:${tag}`);
      const headers = { 'content-type': IMAGE };
      const path = `/v2/${repository}/manifests/${tag}`;
      const answer = await sendTo(host, 'PUT', path, { headers, body: manifest });
      if (answer.status !== 201) throw new Error(`unexpected ${answer.status}`);
      seen.tags.set(`${repository}:${tag}`, digestOf(manifest));
      seen.manifests.set(digestOf(manifest), repository);
    }
  } catch (error) {
    if (error instanceof Error && error.message.startsWith('unexpected')) throw error;
  }
}

async function pushBlob(
  host: string,
  repository: string,
  content: Buffer,
  seen: Acknowledged,
): Promise<Digest> {
  const digest = digestOf(content);
  const begun = await sendTo(host, 'POST', `/v2/${repository}/blobs/uploads/`);
  const location = String(begun.headers.location);
  const half = content.length >> 1;
  await sendTo(host, 'PATCH', location, { body: content.subarray(0, half) });
  const put = await sendTo(host, 'PUT', `${location}?digest=${digest}`, { body: content.subarray(half) });
  if (put.status !== 201) throw new Error(`unexpected ${put.status}`);
  seen.blobs.add(`${digest}@${repository}` as Digest);
  return digest;
}

async function verify(host: string, seen: Acknowledged): Promise<void> {
  for (const entry of seen.blobs) {
    const [digest = '', repository = ''] = entry.split('@');
    const answer = await sendTo(host, 'GET', `/v2/${repository}/blobs/${digest}`);
    expect([entry, answer.status, digestOf(answer.body)]).toEqual([entry, 200, digest]);
  }
  for (const [digest, repository] of seen.manifests) {
    const answer = await sendTo(host, 'GET', `/v2/${repository}/manifests/${digest}`);
    expect([answer.status, digestOf(answer.body)]).toEqual([200, digest]);
  }
  for (const [name, digest] of seen.tags) {
    const [repository = '', tag = ''] = name.split(':');
    const answer = await sendTo(host, 'HEAD', `/v2/${repository}/manifests/${tag}`);
    expect([name, answer.headers['docker-content-digest']]).toEqual([name, digest]);
  }
}

it('keeps every acknowledged push through kill -9 at any moment', async () => {
  const seen: Acknowledged = { blobs: new Set(), tags: new Map(), manifests: new Map() };
  for (let round = 0; round < ROUNDS; round += 1) {
    const registry = await spawnRegistry();
    await verify(registry.host, seen);
    const clients = [0, 1, 2].map((client) => pushUntilDeath(registry.host, client, seen));
    const before = seen.manifests.size;
    await eventually(() => seen.manifests.size > before);
    await new Promise((resolve) => setTimeout(resolve, 150 * Math.random()));
    await kill(registry);
    await Promise.all(clients);
  }
  const last = await spawnRegistry();
  await verify(last.host, seen);
  expect(seen.manifests.size).toBeGreaterThanOrEqual(ROUNDS);
  expect(await readdir(join(directory, 'quarantine'))).toEqual([]);
  expect(await readdir(join(directory, 'temporary'))).toEqual([]);
  await kill(last);
}, 60_000);
