/**
 * How long the registry takes from the start of its process to its first answer, with many manifests stored.
 *
 *     npx node bench/registry/start.ts [manifests]
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { Connection, requestHead } from './connection.ts';
import { makeImages, RepositoryClient } from './images.ts';
import { residentBytesOf } from './measure.ts';
import { startPeer } from './peers.ts';

const STARTS = 5;
const CLIENTS = 32;
const POLL_MS = 5;

const count = Number(process.argv[2] ?? 100_000);
const folder = mkdtempSync(join(tmpdir(), 'mural-bench-start-'));
try {
  const data = join(folder, 'kept');
  const port = await fill(data);
  for (let start = 0; start < STARTS; start += 1) {
    const { milliseconds, megabytes } = await startOnce(data, port);
    console.log(
      `${count} manifests: first answer after ${milliseconds.toFixed(0)} ms, ${megabytes.toFixed(0)} MB`,
    );
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** Pushes the manifests, a repository for each client, and answers on which port. */
async function fill(data: string): Promise<number> {
  const peer = await startPeer('mural', join(folder, 'peer'), { tls: undefined, auth: false, data });
  const [image] = makeImages(1, 1024, 'one');
  if (image === undefined) throw new Error('no image');
  let next = 0;
  const worker = async (number: number): Promise<void> => {
    const client = await RepositoryClient.open(peer.target, `bench/workloads-${number}`, undefined);
    await client.pushConfig();
    await client.push(image);
    for (let index = next++; index < count; index = next++) await client.pushManifest(image, `v${index}`);
    client.close();
  };
  await Promise.all(Array.from({ length: CLIENTS }, async (_, number) => worker(number)));
  await peer.stop();
  return peer.target.port;
}

async function startOnce(data: string, port: number): Promise<{ milliseconds: number; megabytes: number }> {
  const target = { host: '127.0.0.1', port };
  const started = performance.now();
  const child = spawn(
    process.execPath,
    [
      join(import.meta.dirname, '..', '..', 'packages', 'cli', 'bin', 'mural.js'),
      ...['registry', 'serve', '--data', data, '--port', `${port}`, '--no-tls', '--anonymous', 'push'],
    ],
    { stdio: 'ignore' },
  );
  const exited = once(child, 'exit');
  for (;;) {
    try {
      const connection = await Connection.open(target);
      const { status } = await connection.send([requestHead('GET', '/v2/', target)]);
      connection.close();
      if (status === 200) break;
    } catch {
      await sleep(POLL_MS);
    }
  }
  const milliseconds = performance.now() - started;
  const megabytes = residentBytesOf(child.pid ?? 0) / 1024 / 1024;
  child.kill('SIGTERM');
  await exited;
  return { milliseconds, megabytes };
}
