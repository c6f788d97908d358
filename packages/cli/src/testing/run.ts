import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { eventually } from '@mural/core/testing';
import { main } from '../main.ts';

/** What a command said and how it ended. */
export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a command line within this process. */
export async function run(
  args: readonly string[],
  options: { readonly env?: NodeJS.ProcessEnv; readonly cwd?: string; readonly signal?: AbortSignal } = {},
): Promise<Ran> {
  let out = '';
  let err = '';
  const code = await main(args, {
    env: options.env ?? {},
    cwd: options.cwd ?? process.cwd(),
    signal: options.signal ?? new AbortController().signal,
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    interactive: false,
  });
  return { code, out, err };
}

const BIN = fileURLToPath(new URL('../../bin/mural.js', import.meta.url));

/** A command in a process of its own. */
export interface Spawned {
  readonly child: ChildProcess;
  /** The content of the ready file, as soon as it is there. */
  readonly ready: Readonly<Record<string, string>>;
  /** Sends the signal and returns the exit code and how long it took, in milliseconds. */
  stop(signal: NodeJS.Signals): Promise<{ readonly code: number | null; readonly ms: number }>;
}

/** Starts a service and waits for its ready file. */
export async function spawnService(args: readonly string[], readyFile: string): Promise<Spawned> {
  // One that was killed leaves its file behind.
  await rm(readyFile, { force: true });
  const child = spawn(process.execPath, [BIN, ...args, '--ready-file', readyFile], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  const take = (chunk: Buffer): void => {
    log += chunk.toString();
  };
  child.stdout.on('data', take);
  child.stderr.on('data', take);
  const ready = await eventually(async () => {
    if (child.exitCode !== null) return 'ended' as const;
    return JSON.parse(await readFile(readyFile, 'utf8')) as Record<string, string>;
  }, 25_000);
  if (ready === 'ended') throw new Error(`mural ${args.join(' ')} ended:\n${log}`);
  return {
    child,
    ready,
    stop: async (signal) => {
      const start = performance.now();
      const exit = once(child, 'exit');
      child.kill(signal);
      await exit;
      return { code: child.exitCode, ms: performance.now() - start };
    },
  };
}
