/**
 * Zot's own benchmark against the embedded registry and Zot in turn.
 *
 *     ZOT=… ZB=… npx node bench/registry/zb.ts [--rounds 2] [--sizes 1,10,100]
 *
 * ZOT and ZB name binaries built from project-zot/zot (cmd/zot, cmd/zb).
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { binaryOf, hintOf, type PeerName, startPeer } from './peers.ts';

const PEERS = ['mural', 'zot'] as const satisfies readonly PeerName[];
/** Megabytes of an image, images at a time, and images of each test. */
const SIZES = [
  { megabytes: 1, concurrency: 10, requests: 400 },
  { megabytes: 10, concurrency: 10, requests: 100 },
  { megabytes: 100, concurrency: 4, requests: 40 },
] as const;
const KINDS = ['Push Monolith', 'Push Chunk Streamed', 'Pull'];
const LIMIT_MS = 300_000;

interface Outcome {
  readonly test: string;
  readonly perSecond: number;
  readonly failed: number;
}

const { values: options } = parseArgs({
  options: { rounds: { type: 'string', default: '2' }, sizes: { type: 'string', default: '1,10,100' } },
});
const zb = process.env['ZB'];
if (zb === undefined) throw new Error('ZB must name the binary: build cmd/zb of project-zot/zot');
if (binaryOf('zot') === undefined) throw new Error(`without zot: ${hintOf('zot')}`);

const best = new Map<string, Outcome>();
const sizes = SIZES.filter(({ megabytes }) => options.sizes.split(',').includes(String(megabytes)));
for (let round = 0; round < Number(options.rounds); round += 1) {
  for (const size of sizes) {
    for (const peer of PEERS) note(peer, await run(peer, size, zb));
  }
}
console.log(table());

function note(peer: PeerName, outcomes: readonly Outcome[]): void {
  for (const outcome of outcomes) {
    const { test, perSecond, failed } = outcome;
    console.error(`${test}: ${peer}: ${perSecond.toFixed(1)}/s, ${failed} failed`);
    const key = `${peer} ${test}`;
    if (perSecond > (best.get(key)?.perSecond ?? 0)) best.set(key, outcome);
  }
}

async function run(name: PeerName, size: (typeof SIZES)[number], binary: string): Promise<Outcome[]> {
  const folder = mkdtempSync(join(tmpdir(), 'mural-bench-zb-'));
  const peer = await startPeer(name, join(folder, name), { tls: undefined, auth: false });
  try {
    const tests = `^(${KINDS.map((kind) => `${kind} ${size.megabytes}MB`).join('|')})$`;
    const load = ['-c', String(size.concurrency), '-n', String(size.requests), '-t', tests];
    // The clean-up deletes a digest first and then its tags, which are gone by then.
    const rest = ['--skip-cleanup', '-d', folder, `http://${peer.target.host}:${peer.target.port}`];
    const { stdout } = await promisify(execFile)(binary, [...load, ...rest], { timeout: LIMIT_MS });
    return outcomesIn(stdout);
  } finally {
    await peer.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

function outcomesIn(text: string): Outcome[] {
  const each = (pattern: RegExp): string[] => [...text.matchAll(pattern)].map((match) => match[1] ?? '');
  const rates = each(/Requests per second:\s*([\d.]+)/g);
  const failures = each(/Failed requests:\s*(\d+)/g);
  return each(/Test name:\s*(.*)/g).map((test, index) => ({
    test: test.trim(),
    perSecond: Number(rates[index]),
    failed: Number(failures[index]),
  }));
}

function table(): string {
  const tests = [...new Set([...best.values()].map(({ test }) => test))];
  const cell = (peer: PeerName, test: string): string => {
    const { perSecond = Number.NaN, failed = 0 } = best.get(`${peer} ${test}`) ?? {};
    return `${perSecond.toFixed(1)}${failed === 0 ? '' : ` (${failed} failed)`}`;
  };
  const lines = tests.map((test) => `| ${test} | ${PEERS.map((peer) => cell(peer, test)).join(' | ')} |`);
  return [`| requests a second | ${PEERS.join(' | ')} |`, '|---|---|---|', ...lines].join('\n');
}
