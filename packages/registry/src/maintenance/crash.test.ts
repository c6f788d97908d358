import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Answer, IMAGE, imageOf, sendTo } from '../fixture.ts';
import { type Digest, digestOf } from '../names.ts';
import { openRegistryData } from './offline.ts';

const CHILD = new URL('./crash-child.ts', import.meta.url).pathname;
/** How often the registry is killed. */
const KILLS = Number(process.env['MURAL_KILLS'] ?? 20);
const CLIENTS = 4;
/** Images that a client keeps, so that what is checked after each kill does not grow. */
const KEPT = 12;

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mural-kills-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

interface Image {
  readonly digest: Digest;
  readonly blobs: readonly Digest[];
  readonly tag: string;
}

/** What one client knows for certain. */
interface Known {
  readonly repository: string;
  /** Acknowledged and not deleted. */
  images: Image[];
  /** Deletions that were acknowledged since the last check. */
  deleted: Digest[];
  pushed: number;
  turn: number;
}

/** Something the registry should never answer. */
class Unexpected extends Error {}

function expectStatus(answer: Answer, ...allowed: number[]): void {
  if (allowed.includes(answer.status)) return;
  throw new Unexpected(`${answer.status}: ${answer.body.toString().slice(0, 300)}`);
}

async function spawnRegistry(): Promise<{ host: string; child: ChildProcess }> {
  const child = spawn(process.execPath, [CHILD, directory], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout });
  const started = once(lines, 'line') as Promise<[string]>;
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`the registry ended by itself: ${String(code)}`);
  });
  const [host] = await Promise.race([started, ended]);
  ended.catch(() => undefined);
  return { host, child };
}

/** Pushes, and deletes the oldest, until the registry dies. */
async function work(host: string, known: Known): Promise<void> {
  try {
    for (;;) {
      known.turn += 1;
      await push(host, known);
      if (known.images.length > KEPT) await deleteOldest(host, known);
    }
  } catch (error) {
    if (error instanceof Unexpected) throw error;
  }
}

async function push(host: string, known: Known): Promise<void> {
  const { repository, turn } = known;
  const layer = randomBytes(turn % 4 === 0 ? 700_000 : 500);
  const config = await pushBlob(host, repository, Buffer.from('{}'), turn);
  const digest = await pushBlob(host, repository, layer, turn);
  const manifest = imageOf(config, { digest, size: layer.length });
  const tag = `t${turn}`;
  const headers = { 'content-type': IMAGE };
  const path = `/v2/${repository}/manifests/${tag}`;
  expectStatus(await sendTo(host, 'PUT', path, { headers, body: manifest }), 201);
  known.pushed += 1;
  known.images.push({ digest: digestOf(manifest), blobs: [config, digest], tag });
}

async function pushBlob(host: string, repository: string, content: Buffer, turn: number): Promise<Digest> {
  const digest = digestOf(content);
  const uploads = `/v2/${repository}/blobs/uploads/`;
  if (turn % 3 === 0) {
    expectStatus(await sendTo(host, 'POST', `${uploads}?digest=${digest}`, { body: content }), 201);
    return digest;
  }
  const head = await sendTo(host, 'HEAD', `/v2/${repository}/blobs/${digest}`);
  expectStatus(head, 200, 404);
  if (head.status === 200) return digest;
  const location = String((await sendTo(host, 'POST', uploads)).headers.location);
  const half = content.length >> 1;
  expectStatus(await sendTo(host, 'PATCH', location, { body: content.subarray(0, half) }), 202);
  expectStatus(
    await sendTo(host, 'PUT', `${location}?digest=${digest}`, { body: content.subarray(half) }),
    201,
  );
  return digest;
}

async function deleteOldest(host: string, known: Known): Promise<void> {
  const oldest = known.images.shift();
  if (oldest === undefined) return;
  // From here on it may be there or not, until the answer comes.
  const path = `/v2/${known.repository}/manifests/${oldest.digest}`;
  expectStatus(await sendTo(host, 'DELETE', path), 202);
  known.deleted.push(oldest.digest);
}

async function check(host: string, { repository, images, deleted }: Known): Promise<void> {
  for (const { digest, blobs, tag } of images) {
    const head = await sendTo(host, 'HEAD', `/v2/${repository}/manifests/${tag}`);
    expect([tag, head.headers['docker-content-digest']]).toEqual([tag, digest]);
    const manifest = await sendTo(host, 'GET', `/v2/${repository}/manifests/${digest}`);
    expect([manifest.status, digestOf(manifest.body)]).toEqual([200, digest]);
    for (const blob of blobs) {
      const answer = await sendTo(host, 'GET', `/v2/${repository}/blobs/${blob}`);
      expect([answer.status, digestOf(answer.body)]).toEqual([200, blob]);
    }
  }
  for (const digest of deleted.splice(0)) {
    expect((await sendTo(host, 'HEAD', `/v2/${repository}/manifests/${digest}`)).status).toBe(404);
  }
}

it(
  `keeps what was acknowledged through ${KILLS} kills while it collects`,
  async () => {
    const clients: Known[] = Array.from({ length: CLIENTS }, (_, index) => ({
      ...{ repository: `kills/r${index}`, images: [], deleted: [], pushed: 0, turn: 0 },
    }));
    for (let kill = 0; kill < KILLS; kill += 1) {
      const { host, child } = await spawnRegistry();
      for (const known of clients) await check(host, known);
      const exited = once(child, 'exit');
      const running = clients.map((known) => work(host, known));
      setTimeout(() => child.kill('SIGKILL'), 20 + 380 * Math.random());
      await exited;
      await Promise.all(running);
    }
    const data = await openRegistryData({ dataDir: directory, maintenance: { graceMs: 0 } });
    try {
      expect(await data.verify({ thorough: true })).toMatchObject({ ok: true });
      expect((await data.scrub()).damaged).toEqual([]);
      await data.collect();
      const after = await data.verify({ thorough: true });
      expect(after.problems).toEqual([]);
      expect(after.manifests).toBeGreaterThanOrEqual(
        clients.reduce((sum, { images }) => sum + images.length, 0),
      );
    } finally {
      await data.close();
    }
    expect(await readdir(join(directory, 'quarantine'))).toEqual([]);
    const pushed = clients.reduce((sum, known) => sum + known.pushed, 0);
    expect(pushed).toBeGreaterThan(CLIENTS);
    console.info(JSON.stringify({ kills: KILLS, pushed }));
  },
  60_000 + KILLS * 5000,
);
