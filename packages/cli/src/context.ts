import { readFile, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { errorMessage, systemCode } from '@mural/core';
import { CliError } from './errors.ts';

/** What a command has of the world around it, so that tests run commands within their own process. */
export interface Context {
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  /** Aborted when the command is to stop: SIGTERM or SIGINT. */
  readonly signal: AbortSignal;
  /** Results, and nothing else. */
  readonly out: (text: string) => void;
  /** Progress and errors. */
  readonly err: (text: string) => void;
  /** Whether `out` is a terminal whose lines can be redrawn. */
  readonly interactive: boolean;
  /** Sets the exit code of a command that ran to its end and found something wrong. */
  readonly exitWith: (code: number) => void;
}

/** An absolute path for what the user wrote. */
export function pathOf(context: Context, path: string): string {
  return resolve(context.cwd, path);
}

const MAX_FILE = 16 * 1024 * 1024;

/**
 * Reads a text file that the user named.
 *
 * @throws CliError `FileUnreadable`
 */
export async function readUserFile(context: Context, path: string): Promise<string> {
  try {
    const absolute = pathOf(context, path);
    const { size } = await stat(absolute);
    if (size > MAX_FILE) {
      throw new CliError('FileUnreadable', `${path} is larger than ${MAX_FILE / 1024 / 1024} MiB`);
    }
    return await readFile(absolute, 'utf8');
  } catch (error) {
    if (error instanceof CliError) throw error;
    const code = systemCode(error);
    const why =
      code === 'ENOENT'
        ? 'there is no such file'
        : code === 'EISDIR'
          ? 'it is a folder'
          : errorMessage(error);
    throw new CliError('FileUnreadable', `cannot read ${path}: ${why}`, { cause: error });
  }
}
