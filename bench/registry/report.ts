import type { Measured } from './measure.ts';
import type { PeerName } from './peers.ts';
import type { Row } from './rows.ts';

/** What a row showed for a registry. */
export interface Result extends Measured {
  readonly row: string;
  readonly peer: PeerName;
}

const MIB = 1024 * 1024;

/** The fastest round of each registry and row; failures of any round are kept. */
export function best(results: readonly Result[]): Result[] {
  const found = new Map<string, Result>();
  for (const result of results) {
    const key = `${result.row} ${result.peer}`;
    const before = found.get(key);
    const faster = before === undefined || rateOf(result) > rateOf(before) ? result : before;
    found.set(key, {
      ...faster,
      failed: (before?.failed ?? 0) + result.failed,
      memory: Math.max(before?.memory ?? 0, result.memory),
    });
  }
  return [...found.values()];
}

/** A Markdown table: a row each, a column for each registry. */
export function tableOf(
  rows: readonly Row[],
  peers: readonly PeerName[],
  results: readonly Result[],
): string {
  const lines = rows.map((row) => {
    const cells = peers.map((peer) => {
      const result = results.find((one) => one.row === row.title && one.peer === peer);
      return result === undefined ? '' : cellOf(row, result);
    });
    return `| ${[row.title, ...cells].join(' | ')} |`;
  });
  const head = `| a second (CPU seconds of the server per 1,000 requests or image; p99) | ${peers.join(' | ')} |`;
  return [head, `|${'---|'.repeat(peers.length + 1)}`, ...lines].join('\n');
}

function cellOf(row: Row, result: Result): string {
  const failed = result.failed === 0 ? '' : `, **${result.failed} failed**`;
  if (row.unit === 'bytes') return `${(result.memory / MIB).toFixed(0)} MB${failed}`;
  const rate = rateOf(result);
  const per = row.unit === 'request' ? 1000 : 1;
  const cpu = (result.cpuSeconds / Math.max(result.operations, 1)) * per;
  const shown = rate >= 100 ? Math.round(rate).toLocaleString('en') : rate.toFixed(1);
  return `${shown} (${cpu.toFixed(3)}; ${result.p99.toFixed(0)} ms)${failed}`;
}

function rateOf({ operations, seconds }: Result): number {
  return operations / seconds;
}
