import { CommanderError } from 'commander';
import type { Context } from './context.ts';
import { describeError, EXIT_USAGE, exitCodeOf } from './errors.ts';
import { createProgram } from './program.ts';

/**
 * Runs one command line.
 *
 * @param args what follows `mural`
 * @returns the exit code: 0, 1 when it failed, 2 when the command line makes no sense
 */
export async function main(args: readonly string[], context: Omit<Context, 'exitWith'>): Promise<number> {
  let exitCode = 0;
  const program = createProgram({
    ...context,
    exitWith: (code) => {
      exitCode = code;
    },
  });
  try {
    await program.parseAsync(args, { from: 'user' });
    return exitCode;
  } catch (error) {
    // Commander has written its own message by then, and help and version are no failures.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
    context.err(describeError(error));
    return exitCodeOf(error);
  }
}

/** Runs the command line of this process and ends it with the right code. */
export async function runProcess(): Promise<void> {
  const controller = new AbortController();
  process.on('SIGTERM', () => controller.abort());
  process.on('SIGINT', () => {
    // A second Ctrl-C means: now.
    if (controller.signal.aborted) process.exit(130);
    controller.abort();
  });
  // A reader that has seen enough (`mural status | head`) is no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
  });
  const code = await main(process.argv.slice(2), {
    env: process.env,
    cwd: process.cwd(),
    signal: controller.signal,
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    interactive: process.stdout.isTTY,
  });
  await drained(process.stdout);
  await drained(process.stderr);
  process.exit(code);
}

/** Waits until everything written so far has left the process: pipes are asynchronous. */
async function drained(stream: NodeJS.WriteStream): Promise<void> {
  await new Promise<void>((resolve) => {
    stream.write('', () => resolve());
  });
}
