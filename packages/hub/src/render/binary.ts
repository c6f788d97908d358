import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, isAbsolute, join, normalize, sep } from 'node:path';
import { systemCode } from '@mural/core';
import { RenderError } from '../errors.ts';
import type { Files } from './types.ts';

const MAX_OUTPUT = 64 * 1024 * 1024;
const MAX_MESSAGE = 2000;

/** One run of a binary. */
export interface BinaryRun {
  readonly component: string;
  readonly binary: string;
  readonly args: readonly string[];
  /** The private folder: working directory, HOME and everything else the binary writes to. */
  readonly directory: string;
  readonly deadlineMs: number;
}

/**
 * Runs a renderer in its private folder and returns what it prints.
 *
 * It gets no variable of ours, no PATH (so it finds no git, no plugins and no exec helpers) and a
 * proxy that nobody answers at, so that whatever it would download fails at once.
 *
 * @throws RenderError `RenderFailed` with what the binary printed to stderr
 */
export async function runBinary(run: BinaryRun): Promise<string> {
  const child = spawn(run.binary, run.args, {
    cwd: run.directory,
    env: environmentOf(run.directory),
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const out: Buffer[] = [];
  let size = 0;
  let errors = '';
  let stopped: string | undefined;
  const stop = (why: string): void => {
    stopped ??= why;
    // The group, for a renderer may have started processes of its own.
    if (child.pid !== undefined) killGroup(child.pid);
  };
  const timer = setTimeout(() => stop(`took longer than ${run.deadlineMs / 1000} s`), run.deadlineMs);
  child.stdout.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size > MAX_OUTPUT) stop(`printed more than ${MAX_OUTPUT} bytes`);
    else out.push(chunk);
  });
  child.stderr.on('data', (chunk: Buffer) => {
    if (errors.length < MAX_MESSAGE) errors += chunk.toString('utf8');
  });
  const { promise, resolve, reject } = Promise.withResolvers<number | null>();
  child.once('error', reject);
  child.once('close', resolve);
  try {
    const code = await promise;
    if (code === 0 && stopped === undefined) return Buffer.concat(out).toString('utf8');
    throw failed(run, stopped ?? tidy(errors, run.directory) ?? `ended with status ${code ?? 'unknown'}`);
  } catch (error) {
    if (error instanceof RenderError) throw error;
    throw failed(run, systemCode(error) ?? String(error));
  } finally {
    clearTimeout(timer);
  }
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It ended in the meantime.
  }
}

function environmentOf(directory: string): NodeJS.ProcessEnv {
  const nowhere = 'http://127.0.0.1:9';
  return {
    HOME: directory,
    TMPDIR: directory,
    PATH: join(directory, 'no-programs'),
    XDG_CACHE_HOME: join(directory, '.cache'),
    XDG_CONFIG_HOME: join(directory, '.config'),
    XDG_DATA_HOME: join(directory, '.data'),
    HELM_PLUGINS: join(directory, '.plugins'),
    KUBECONFIG: join(directory, '.kubeconfig'),
    HTTP_PROXY: nowhere,
    HTTPS_PROXY: nowhere,
    http_proxy: nowhere,
    https_proxy: nowhere,
    GODEBUG: 'netdns=go',
    LANG: 'C.UTF-8',
    TZ: 'UTC',
  };
}

/** What a binary said, without the path of its folder, which differs from run to run. */
function tidy(text: string, directory: string): string | undefined {
  const said = text.replaceAll(`${directory}${sep}`, '').replaceAll(directory, '.').trim();
  return said === '' ? undefined : said.slice(0, MAX_MESSAGE);
}

function failed(run: BinaryRun, why: string): RenderError {
  const name = run.binary.split(sep).at(-1) ?? run.binary;
  return new RenderError('RenderFailed', `component ${run.component}: ${name}: ${why}`, {
    facts: { component: run.component, binary: name },
  });
}

/** The first of these programs that the search path has, with its path. */
export async function findBinary<Name extends string>(
  names: readonly Name[],
  searchPath: string,
): Promise<{ readonly name: Name; readonly path: string } | undefined> {
  for (const name of names) {
    for (const folder of searchPath.split(delimiter).filter(isAbsolute)) {
      const path = join(folder, name);
      if (await isExecutable(path)) return { name, path };
    }
  }
  return undefined;
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Gives `work` a private folder that holds the files, and removes it afterwards. */
export async function withFiles<T>(
  files: Files,
  component: string,
  work: (directory: string) => Promise<T>,
): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'mural-render-'));
  try {
    for (const [path, content] of Object.entries(files)) {
      const target = join(directory, 'input', safePath(path, component));
      await mkdir(dirname(target), { recursive: true });
      await writeFile(target, content, { mode: 0o600 });
    }
    return await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/**
 * A relative path that stays where it is put.
 *
 * @throws RenderError `PropertiesInvalid` for one that leads out of its folder
 */
export function safePath(path: string, component: string): string {
  const clean = normalize(path);
  if (
    path === '' ||
    path.includes('\0') ||
    isAbsolute(clean) ||
    clean === '..' ||
    clean.startsWith(`..${sep}`)
  ) {
    throw new RenderError(
      'PropertiesInvalid',
      `component ${component}: the path ${JSON.stringify(path)} leads out of its folder`,
      { facts: { component, path } },
    );
  }
  return clean;
}

/** The error for a binary that is not installed: which one, and how to get it. */
export function rendererMissing(component: string, binary: string, how: string): RenderError {
  return new RenderError(
    'RendererMissing',
    `component ${component} needs the program ${binary}, which is not on the PATH of the hub: ${how}`,
    { facts: { component, binary }, hint: how },
  );
}
