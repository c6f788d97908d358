#!/usr/bin/env node
// Starts the command on Node 24 or later, which runs TypeScript as it is and has SQLite built in. An
// older Node only finds the one that package-lock.json pins and hands over to it. Plain JavaScript,
// so that any Node gets this far.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import module from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const NEEDED = 24;

if (Number(process.versions.node.split('.')[0]) >= NEEDED) {
  silenceExperimentalWarnings();
  // What was compiled, types stripped, is kept: the next start takes two thirds of the time.
  const modules = modulesOf(dirname(fileURLToPath(import.meta.url)));
  if (modules !== undefined) useCompileCache(join(modules, '.cache', 'mural'));
  const { runProcess } = await import('../src/main.ts');
  await runProcess();
} else {
  handOver();
}

/** In threads too, each of which would hold 15 MB more of memory to strip the types of its few files. */
function useCompileCache(folder) {
  module.enableCompileCache(folder);
  process.env.NODE_COMPILE_CACHE ??= folder;
}

/** `node:sqlite` says on every start that it is experimental; users of a command cannot do anything about it. */
function silenceExperimentalWarnings() {
  const emit = process.emitWarning.bind(process);
  process.emitWarning = (warning, ...rest) => {
    const [first] = rest;
    const type = typeof first === 'string' ? first : (first?.type ?? warning?.name);
    if (type !== 'ExperimentalWarning') emit(warning, ...rest);
  };
}

function handOver() {
  const node = pinnedNode(dirname(fileURLToPath(import.meta.url)));
  if (node === undefined) {
    process.stderr.write(
      `error: mural needs Node ${NEEDED} or later, and this is ${process.version}\n` +
        'hint: run "npm ci" in the checkout; it installs the Node that mural pins\n',
    );
    process.exit(1);
  }
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: 'inherit' });
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    process.stderr.write(`error: cannot run ${node}: ${error.message}\n`);
    process.exit(1);
  });
  child.on('exit', (code, signal) => process.exit(code ?? (signal === null ? 1 : 128 + 15)));
}

function pinnedNode(from) {
  const modules = modulesOf(from);
  return modules === undefined ? undefined : join(modules, 'node', 'bin', 'node');
}

/** The node_modules that the pinned Node was installed into. */
function modulesOf(from) {
  for (let folder = from; ; folder = dirname(folder)) {
    const candidate = join(folder, 'node_modules');
    if (existsSync(join(candidate, 'node', 'bin', 'node'))) return candidate;
    if (dirname(folder) === folder) return undefined;
  }
}
