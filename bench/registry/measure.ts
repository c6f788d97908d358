import { readdirSync, readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';

/** What one run of a row showed. */
export interface Measured {
  readonly operations: number;
  readonly failed: number;
  readonly seconds: number;
  /** CPU of the server, user and system, in seconds. */
  readonly cpuSeconds: number;
  /** 99th percentile of one operation, in milliseconds. */
  readonly p99: number;
  /** Largest resident size of the server while the row ran, in bytes. */
  readonly memory: number;
}

// USER_HZ, which Linux fixes for what it tells programs.
const TICKS_PER_SECOND = 100;
const SAMPLE_MS = 50;

/** CPU seconds of a process so far. */
export function cpuSecondsOf(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Resident size of a process, in bytes. */
export function residentBytesOf(pid: number): number {
  const match = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(match?.[1] ?? 0) * 1024;
}

/** Whether the process is a child of another that runs. */
export function childrenOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8')
      .split(' ')
      .filter((text) => text !== '')
      .map(Number),
  );
}

/**
 * Runs `operation` over and over, from as many loops as there are workers, until the time is over or
 * everything is done.
 *
 * @param operation does one; gets the number of the operation and of the worker, and returns `false` when there is
 *   nothing left
 */
export async function measure(
  pid: number,
  options: { readonly workers: number; readonly seconds?: number },
  operation: (index: number, worker: number) => Promise<boolean>,
): Promise<Measured> {
  const latencies: number[] = [];
  let failed = 0;
  let next = 0;
  let memory = residentBytesOf(pid);
  const sampler = setInterval(() => {
    memory = Math.max(memory, residentBytesOf(pid));
  }, SAMPLE_MS);
  const cpuBefore = cpuSecondsOf(pid);
  const started = performance.now();
  const end = options.seconds === undefined ? Number.POSITIVE_INFINITY : started + options.seconds * 1000;
  const loop = async (worker: number): Promise<void> => {
    for (let at = performance.now(); at < end; ) {
      const index = next;
      next += 1;
      try {
        if (!(await operation(index, worker))) return;
      } catch {
        failed += 1;
      }
      const now = performance.now();
      latencies.push(now - at);
      at = now;
    }
  };
  await Promise.all(Array.from({ length: options.workers }, async (_, worker) => loop(worker)));
  const seconds = (performance.now() - started) / 1000;
  const cpuSeconds = cpuSecondsOf(pid) - cpuBefore;
  clearInterval(sampler);
  latencies.sort((a, b) => a - b);
  const p99 = latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * 0.99))] ?? 0;
  return { operations: latencies.length - failed, failed, seconds, cpuSeconds, p99, memory };
}
