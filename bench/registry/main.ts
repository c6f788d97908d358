/**
 * The embedded registry beside distribution, Zot and olareg: the same client against each in turn, on loopback.
 *
 *     npx node bench/registry/main.ts [--rounds 3] [--peers mural,olareg] [--rows head,get,push-tls,…]
 *
 * distribution and olareg come from `test/tools/get`; Zot (cmd/zot of project-zot/zot) by its path in ZOT.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { systemClock } from '../../packages/core/src/index.ts';
import { ensureCertificates } from '../../packages/cli/src/home/certificates.ts';
import { binaryOf, hintOf, type PeerName, PEERS, type PeerSetup, startPeer } from './peers.ts';
import { best, type Result, tableOf } from './report.ts';
import { type Row, rowsOf } from './rows.ts';

const ROWS = 'head,get,auth,head-tls,push,push-tls,pull,pull-tls,memory';
const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    peers: { type: 'string', default: PEERS.join(',') },
    rows: { type: 'string', default: ROWS },
    seconds: { type: 'string', default: '5' },
  },
});

const folder = mkdtempSync(join(tmpdir(), 'mural-bench-registry-'));
try {
  const peers = options.peers
    .split(',')
    .filter((name): name is PeerName => PEERS.some((peer) => peer === name));
  const missing = peers.filter((name) => binaryOf(name) === undefined);
  for (const name of missing) console.error(`without ${name}: ${hintOf(name)}`);
  const present = peers.filter((name) => !missing.includes(name));
  const rows = rowsOf(options.rows.split(','), Number(options.seconds));
  const tls = await certificates();
  const results: Result[] = [];
  for (let round = 0; round < Number(options.rounds); round += 1) {
    for (const row of rows) {
      for (const name of present) results.push(await runRow(row, name, row.tls ? tls : undefined));
    }
    console.error(`round ${round + 1} of ${options.rounds} is through`);
  }
  console.log(tableOf(rows, present, best(results)));
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function runRow(row: Row, name: PeerName, tls: PeerSetup['tls']): Promise<Result> {
  const peer = await startPeer(name, join(folder, name), { tls, auth: row.auth });
  try {
    const measured = await row.run(peer);
    const rate = measured.operations / measured.seconds;
    console.error(`${row.title}: ${name}: ${rate.toFixed(1)}/s, ${measured.failed} failed`);
    return { row: row.title, peer: name, ...measured };
  } finally {
    await peer.stop();
  }
}

async function certificates(): Promise<NonNullable<PeerSetup['tls']>> {
  const tls = join(folder, 'tls');
  const { ca, server } = await ensureCertificates(tls, ['127.0.0.1', 'localhost'], systemClock);
  const paths = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };
  writeFileSync(paths.cert, server.cert);
  writeFileSync(paths.key, server.key, { mode: 0o600 });
  return { ...paths, ca };
}
