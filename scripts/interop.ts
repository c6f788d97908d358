import { spawnSync } from 'node:child_process';
import { delimiter, dirname } from 'node:path';
import { runVitest } from './vitest.ts';

/**
 * Runs the tests against other people's clients (`test/interop`), or with `--full` those against
 * real Kubernetes and Flux (`test/full`), after installing the programs they use.
 *
 * Needs, beside Node: Go, Python 3 and, for skopeo, root on a Debian system.
 */
const full = process.argv.includes('--full');
const filters = process.argv.slice(2).filter((argument) => argument !== '--full');

const QUICK = [
  'kubectl',
  'helm',
  'kustomize',
  'crane',
  'oras',
  'skopeo',
  'chromium',
  'aws',
  'moto_server',
  'olareg',
];
const SLOW = [
  'flux',
  'regctl',
  'cosign',
  'etcd',
  'kube-apiserver',
  'kube-controller-manager',
  'distribution',
];
const FLUX = ['source-controller', 'kustomize-controller'];

const tools = full ? [...QUICK, ...SLOW, ...FLUX] : QUICK;
console.log(`Installing what is not there yet of: ${tools.join(', ')}`);
const directories = new Set<string>();
for (const tool of tools) {
  const got = spawnSync('test/tools/get', [tool], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  const path = got.stdout.trim().split('\n').at(-1) ?? '';
  if (got.status !== 0 || path === '') {
    console.error(`cannot install ${tool}:\n${got.stderr.split('\n').slice(-15).join('\n')}`);
    console.log('0 passed, 1 failed');
    process.exit(1);
  }
  directories.add(dirname(path));
}
process.env.PATH = [...directories, process.env.PATH ?? ''].join(delimiter);
process.env.MURAL_INTEROP = full ? 'full' : 'quick';

const totals = runVitest(['--config', 'vitest.interop.config.ts', ...filters]);
console.log(`${totals.passed} passed, ${totals.failed} failed`);
process.exit(totals.failed === 0 ? 0 : 1);
