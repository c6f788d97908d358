import { setTimeout as sleep } from 'node:timers/promises';
import { Connection } from './connection.ts';
import { type Image, makeImages, manifestRequest, RepositoryClient } from './images.ts';
import { measure, type Measured, residentBytesOf } from './measure.ts';
import type { RunningPeer } from './peers.ts';

/** One line of the comparison. */
export interface Row {
  readonly title: string;
  readonly tls: boolean;
  readonly auth: boolean;
  /** What an operation is counted as: requests are told per 1,000, images each. */
  readonly unit: 'request' | 'image' | 'bytes';
  run(peer: RunningPeer): Promise<Measured>;
}

const REPOSITORY = 'bench/workloads';
const CONNECTIONS = 50;
const MB = 1_000_000;
const REST_MS = 3000;

/** Megabytes of an image, images at a time, and images in all. */
const SIZES = [
  { megabytes: 1, workers: 10, images: 400 },
  { megabytes: 10, workers: 10, images: 80 },
  { megabytes: 100, workers: 4, images: 12 },
] as const;
type Size = (typeof SIZES)[number];

/** The rows of the groups that were asked for. */
export function rowsOf(groups: readonly string[], seconds: number): Row[] {
  const manifest = (method: 'HEAD' | 'GET', { auth = false, tls = false } = {}): Row => ({
    title: `${method} manifest by tag, c=${CONNECTIONS}${auth ? ', Basic (bcrypt)' : ''}${tls ? ', TLS' : ''}`,
    tls,
    auth,
    unit: 'request',
    run: async (peer) => manifests(peer, method, seconds),
  });
  const all: Readonly<Record<string, readonly Row[]>> = {
    head: [manifest('HEAD')],
    get: [manifest('GET')],
    auth: [manifest('HEAD', { auth: true })],
    'head-tls': [manifest('HEAD', { tls: true })],
    push: SIZES.map((size) => transferRow('push', size, false)),
    pull: SIZES.map((size) => transferRow('pull', size, false)),
    'push-tls': SIZES.map((size) => transferRow('push', size, true)),
    'pull-tls': SIZES.map((size) => transferRow('pull', size, true)),
    memory: [
      { title: 'memory at rest', tls: true, auth: false, unit: 'bytes', run: atRest },
      {
        title: 'memory, push 100 MB, c=10',
        tls: true,
        auth: false,
        unit: 'bytes',
        run: async (peer) => push(peer, { megabytes: 100, workers: 10, images: 20 }),
      },
    ],
  };
  return groups.flatMap((group) => all[group] ?? []);
}

function transferRow(direction: 'push' | 'pull', size: Size, tls: boolean): Row {
  return {
    title: `${direction} ${size.megabytes} MB, c=${size.workers}${tls ? ', TLS' : ''}`,
    tls,
    auth: false,
    unit: 'image',
    run: async (peer) => (direction === 'push' ? push(peer, size) : pull(peer, size)),
  };
}

async function manifests(peer: RunningPeer, method: 'HEAD' | 'GET', seconds: number): Promise<Measured> {
  const [image] = makeImages(1, 1024, 'one');
  if (image === undefined) throw new Error('no image');
  await seed(peer, [image]);
  const request = manifestRequest(method, peer.target, REPOSITORY, {
    tag: image.tag,
    authorization: peer.authorization,
  });
  const connections = await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => Connection.open(peer.target)),
  );
  try {
    return await measure(peer.pid, { workers: CONNECTIONS, seconds }, async (_, worker) => {
      const answer = await connections[worker]?.send([request], method === 'GET');
      if (answer?.status !== 200) throw new Error(`answered ${answer?.status ?? 'nothing'}`);
      return true;
    });
  } finally {
    for (const connection of connections) connection.close();
  }
}

interface Load {
  readonly megabytes: number;
  readonly workers: number;
  readonly images: number;
}

async function push(peer: RunningPeer, { megabytes, workers, images: count }: Load): Promise<Measured> {
  const images = makeImages(count, megabytes * MB, 'push');
  return withClients(peer, workers, async (clients) => {
    await clients[0]?.pushConfig();
    return measure(peer.pid, { workers }, async (index, worker) => {
      const image = images[index];
      if (image === undefined) return false;
      await clients[worker]?.push(image);
      return true;
    });
  });
}

/** Each image once to fill the caches, then all again while it is measured. */
async function pull(peer: RunningPeer, { megabytes, workers, images: count }: Load): Promise<Measured> {
  const images = makeImages(Math.min(count, 8), megabytes * MB, 'pull');
  await seed(peer, images);
  return withClients(peer, workers, async (clients) => {
    for (const image of images) await clients[0]?.pull(image);
    return measure(peer.pid, { workers }, async (index, worker) => {
      const image = images[index % images.length];
      if (image === undefined || index >= 4 * count) return false;
      await clients[worker]?.pull(image);
      return true;
    });
  });
}

async function atRest(peer: RunningPeer): Promise<Measured> {
  await sleep(REST_MS);
  const memory = residentBytesOf(peer.pid);
  return { operations: 0, failed: 0, seconds: 1, cpuSeconds: 0, p99: 0, memory };
}

async function seed(peer: RunningPeer, images: readonly Image[]): Promise<void> {
  await withClients(peer, 1, async ([client]) => {
    await client?.pushConfig();
    for (const image of images) await client?.push(image);
  });
}

async function withClients<T>(
  peer: RunningPeer,
  count: number,
  use: (clients: readonly RepositoryClient[]) => Promise<T>,
): Promise<T> {
  const clients = await Promise.all(
    Array.from({ length: count }, async () =>
      RepositoryClient.open(peer.target, REPOSITORY, peer.authorization),
    ),
  );
  try {
    return await use(clients);
  } finally {
    for (const client of clients) client.close();
  }
}
