import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const MURAL = fileURLToPath(new URL('../../packages/cli/bin/mural.js', import.meta.url));
/** A child that ignores SIGTERM for longer than this is killed. */
const STOP_MS = 12_000;
const TAIL_LINES = 15;

/** A child that ended, or did not get going; the message holds the end of its log. */
export class ChildError extends Error {}

/** A `mural` process that runs until it is stopped, and writes a ready file when it serves. */
export class Child {
  readonly name: string;
  readonly #log: string;
  readonly #process: ChildProcess;

  /**
   * @param base path that the log and the ready file are named after
   * @param environment of the process; our own unless given
   */
  constructor(name: string, args: readonly string[], base: string, environment?: NodeJS.ProcessEnv) {
    this.name = name;
    this.#log = `${base}.log`;
    rmSync(`${base}.ready.json`, { force: true });
    const log = openSync(this.#log, 'w', 0o600);
    // A process group of its own: Ctrl-C reaches us, and we stop the children in order.
    this.#process = spawn(process.execPath, [MURAL, ...args, '--ready-file', `${base}.ready.json`], {
      detached: true,
      stdio: ['ignore', log, log],
      ...(environment === undefined ? {} : { env: environment }),
    });
    closeSync(log);
    this.#ready = `${base}.ready.json`;
  }

  readonly #ready: string;

  get ended(): boolean {
    return this.#process.exitCode !== null || this.#process.signalCode !== null;
  }

  /** What the ready file says, as soon as it is there. */
  async ready(signal: AbortSignal): Promise<Readonly<Record<string, string>>> {
    for (;;) {
      if (this.ended) throw this.failure('ended before it served');
      if (existsSync(this.#ready)) {
        return JSON.parse(await readFile(this.#ready, 'utf8')) as Record<string, string>;
      }
      await delay(30, undefined, { signal });
    }
  }

  /** Fails as soon as the child ends. */
  async unexpectedEnd(): Promise<never> {
    if (!this.ended) await once(this.#process, 'exit');
    throw this.failure('ended');
  }

  /** An error with the end of the child's log. */
  failure(what: string): ChildError {
    const lines = readFileSync(this.#log, 'utf8').trimEnd().split('\n').slice(-TAIL_LINES);
    return new ChildError(`${this.name} ${what}. The end of ${this.#log}:\n  ${lines.join('\n  ')}`);
  }

  /** SIGTERM, and SIGKILL for one that does not listen. */
  async stop(): Promise<void> {
    if (this.ended) return;
    const exit = once(this.#process, 'exit');
    this.#process.kill('SIGTERM');
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), STOP_MS);
    await exit;
    clearTimeout(timer);
  }

  /** SIGKILL. */
  kill(): void {
    if (!this.ended) this.#process.kill('SIGKILL');
  }
}

/** Runs `mural` to its end and returns what it printed. */
export async function runMural(args: readonly string[], signal: AbortSignal): Promise<string> {
  const child = spawn(process.execPath, [MURAL, ...args], { stdio: ['ignore', 'pipe', 'pipe'], signal });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code === 0) return Buffer.concat(out).toString();
  throw new ChildError(
    `mural ${args.slice(0, 3).join(' ')} failed:\n  ${Buffer.concat(err).toString().trim()}`,
  );
}
