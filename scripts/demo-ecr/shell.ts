import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DemoError, type Shown, type Story } from './story.ts';

/** What a command left behind. */
export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  /** Both streams in the order in which they came. */
  readonly all: string;
}

/** How a command is shown and judged. */
export interface CommandOptions extends Shown {
  /** Exit code that is right; 0 unless told. */
  readonly code?: number;
  /** Variables that are other than the operator's. */
  readonly variables?: NodeJS.ProcessEnv;
}

/** A program of others that the task uses, how it is found to work, and what takes its place. */
const PROGRAMS = {
  kubectl: { probe: 'kubectl version --client', standIn: 'stand-in/kubectl.ts' },
  aws: { probe: 'aws --version', standIn: 'stand-in/aws.ts' },
  grep: { probe: 'echo push | grep --ignore-case "PUSH\\|oci"', standIn: 'stand-in/grep.ts' },
} as const;

/** Runs the commands of the task as they are printed, in the folder of the operator. */
export class Shell {
  readonly #story: Story;
  readonly #folder: string;
  readonly #environment: NodeJS.ProcessEnv;
  readonly #signal: AbortSignal;

  private constructor(
    story: Story,
    options: {
      readonly folder: string;
      readonly environment: NodeJS.ProcessEnv;
      readonly signal: AbortSignal;
    },
  ) {
    this.#story = story;
    this.#folder = options.folder;
    this.#environment = options.environment;
    this.#signal = options.signal;
  }

  /**
   * Finds the programs; where one is missing or does not run, a small program that makes the same
   * calls is put in its place.
   *
   * @returns the shell, and the names of the programs that something stands in for
   */
  static async open(
    story: Story,
    options: {
      readonly folder: string;
      readonly environment: NodeJS.ProcessEnv;
      readonly signal: AbortSignal;
    },
  ): Promise<{ readonly shell: Shell; readonly standIns: readonly string[] }> {
    const bin = join(options.folder, '.stand-in');
    await mkdir(bin);
    const path = [bin, options.environment['PATH'] ?? ''].join(delimiter);
    const shell = new Shell(story, { ...options, environment: { ...options.environment, PATH: path } });
    const missing = await Promise.all(
      Object.entries(PROGRAMS).map(async ([name, { probe, standIn }]) => {
        if ((await shell.quietly(probe)).code === 0) return [];
        const script = fileURLToPath(new URL(standIn, import.meta.url));
        const node = `"${process.execPath}" --disable-warning=ExperimentalWarning`;
        await writeFile(join(bin, name), `#!/bin/sh\nexec ${node} "${script}" "$@"\n`);
        await chmod(join(bin, name), 0o755);
        return [name];
      }),
    );
    return { shell, standIns: missing.flat() };
  }

  /** What a command of the user needs in its environment to do the same. */
  get environment(): NodeJS.ProcessEnv {
    return this.#environment;
  }

  /**
   * Prints a command, runs it, prints what it says.
   *
   * @throws DemoError when it ends in another way than it should
   */
  async run(command: string, options: CommandOptions = {}): Promise<Ran> {
    this.#story.command(command);
    const { code = 0, variables } = options;
    const ran = await this.quietly(command, variables);
    const right = ran.code === code;
    this.#story.output(ran.all.trim() === '' ? '(no output)' : ran.all, right ? options : {});
    if (!right) throw new DemoError(`"${command}" exited with ${ran.code}, not with ${code}.`);
    return ran;
  }

  /** Runs a command and prints nothing. */
  async quietly(command: string, variables: NodeJS.ProcessEnv = {}): Promise<Ran> {
    const child = spawn('sh', ['-c', command], {
      cwd: this.#folder,
      env: { ...this.#environment, ...variables },
      stdio: ['ignore', 'pipe', 'pipe'],
      // Its own group: a pipeline ends with its shell, and Ctrl-C comes to us alone.
      detached: true,
    });
    const stop = (): void => {
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGTERM');
    };
    this.#signal.addEventListener('abort', stop);
    const [stdout, all]: [Buffer[], Buffer[]] = [[], []];
    child.stdout.on('data', (chunk: Buffer) => {
      stdout.push(chunk);
      all.push(chunk);
    });
    child.stderr.on('data', (chunk: Buffer) => all.push(chunk));
    try {
      if (this.#signal.aborted) stop();
      await once(child, 'close');
    } finally {
      this.#signal.removeEventListener('abort', stop);
    }
    this.#signal.throwIfAborted();
    return {
      code: child.exitCode,
      stdout: Buffer.concat(stdout).toString(),
      all: Buffer.concat(all).toString(),
    };
  }
}
