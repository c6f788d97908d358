import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createKubeClient, loadKubeConfig, type UnstructuredObject } from '@mural/kube';
import { parseAllDocuments } from 'yaml';
import { Child, ChildError, runMural } from './quickstart/child.ts';
import { applyAll, formatArrivals, Watch } from './quickstart/fleet.ts';
import { choosePorts } from './quickstart/ports.ts';
import { Progress } from './quickstart/progress.ts';

/**
 * `npm run quickstart`: a hub and two more spokes, each in a process of its own, and a first workload
 * on all three. Stays up until Ctrl-C; with `--exit` it ends after the table, with 1 if that never
 * came. State is in `.mural/quickstart`; a second run goes on from there.
 */
const ROOT = fileURLToPath(new URL('../', import.meta.url));
const DATA = join(ROOT, '.mural/quickstart');
const EXAMPLE = join(ROOT, 'examples/quickstart/workload.yaml');
const WORKLOAD = 'default/hello';
const HUB = 'hub';
const EDGES = ['edge-1', 'edge-2'];
const TIMEOUT_MS = 120_000;

const exitAfterTable = process.argv.includes('--exit');
const stopping = new AbortController();
const timeout = AbortSignal.timeout(TIMEOUT_MS);
const children: Child[] = [];
const watch = new Watch();

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    if (stopping.signal.aborted) for (const child of children) child.kill();
    stopping.abort();
  });
}

function start(name: string, args: readonly string[], base: string): Child {
  const child = new Child(name, args, base);
  children.push(child);
  return child;
}

async function startHub(progress: Progress, signal: AbortSignal): Promise<Readonly<Record<string, string>>> {
  progress.update(HUB, 'starting API, registry, controllers and console');
  const base = join(DATA, 'hub');
  const notes = join(DATA, 'addresses.json');
  const ports = await choosePorts(notes);
  const listen = Object.entries(ports).flatMap(([name, port]) => [`--${name}-port`, String(port)]);
  const child = start('The hub', ['up', '--data', base, ...listen], base);
  const ready = await child.ready(signal);
  writeFileSync(notes, JSON.stringify(ready));
  progress.update(HUB, `serves its API at ${ready.api ?? ''} and the registry at ${ready.registry ?? ''}`);
  return ready;
}

async function joinSpoke(
  name: string,
  kubeconfig: string,
  progress: Progress,
  signal: AbortSignal,
): Promise<void> {
  progress.update(name, 'joining: credentials and manifests from the hub');
  const base = join(DATA, name);
  const args = ['spoke', 'bootstrap', name, '--create', '--labels', 'tier=edge', '--kubeconfig', kubeconfig];
  const manifests = await runMural(args, signal);
  writeFileSync(`${base}.bootstrap.yaml`, manifests, { mode: 0o600 });
  progress.update(name, 'starting in a process of its own');
  const run = ['spoke', 'run', '--data', base, '--bootstrap', `${base}.bootstrap.yaml`];
  await start(`The spoke ${name}`, run, base).ready(signal);
}

function readExample(): UnstructuredObject[] {
  return parseAllDocuments(readFileSync(EXAMPLE, 'utf8'))
    .map((document) => document.toJS() as UnstructuredObject | null)
    .filter((object) => object !== null);
}

async function deliver(
  kubeconfig: string,
  progress: Progress,
  since: number,
  signal: AbortSignal,
): Promise<void> {
  const client = createKubeClient(await loadKubeConfig({ path: kubeconfig }));
  try {
    await applyAll(client, readExample());
    progress.update('workload', `applied ${relative(ROOT, EXAMPLE)}`);
    const target = { workload: WORKLOAD, spokes: [HUB, ...EDGES], since };
    const arrivals = await watch.arrivals(client, target, { progress, signal });
    progress.finish();
    console.log(`\n${formatArrivals(arrivals)}`);
    if (arrivals.some(({ row }) => row.healthReason === 'NoNodes')) {
      console.log(
        'No pods run here: these spokes have no nodes, so nobody can say that anything is healthy.',
      );
    }
  } finally {
    await client.close();
  }
}

function whereNext(ready: Readonly<Record<string, string>>): void {
  const kubeconfig = ready.kubeconfig ?? '';
  console.log(`
Where to go on, in another terminal:

  export KUBECONFIG=${kubeconfig}
  kubectl get workloaddeployments,spokes
  kubectl get ocirepository --namespace mural-system
  kubectl logs --namespace mural-system deployment/hue
  npx mural status

The console is ${ready.console ?? ''}; it asks for the token in the kubeconfig:

  kubectl config view --raw -o jsonpath='{.users[0].user.token}'

The registry is ${ready.registry ?? ''}; its CA is ${ready.ca ?? ''}:

  export DOCKER_CONFIG=${(ready.dockerConfig ?? '').replace(/\/config\.json$/, '')}
  npx mural list artifacts oci://${new URL(ready.registry ?? 'https://-').host}/mural/workloads --ca ${ready.ca ?? ''}

Each spoke has an API of its own: KUBECONFIG=${join(DATA, 'edge-1', 'kubeconfig')}
Change ${relative(process.cwd(), EXAMPLE)}, apply it again and watch: npx mural status --watch
`);
}

async function quickstart(signal: AbortSignal): Promise<void> {
  const since = Date.now();
  const progress = new Progress();
  mkdirSync(DATA, { recursive: true, mode: 0o700 });
  const ready = await startHub(progress, signal);
  const kubeconfig = ready.kubeconfig ?? '';
  await Promise.all(EDGES.map(async (name) => joinSpoke(name, kubeconfig, progress, signal)));
  // A child that ends while its workload is on the way is the reason why that does not arrive.
  await Promise.race([
    deliver(kubeconfig, progress, since, signal),
    ...children.map(async (child) => child.unexpectedEnd()),
  ]);
  if (exitAfterTable) return;
  whereNext(ready);
  console.log('Ctrl-C stops all of it; the next "npm run quickstart" goes on from here.');
  await Promise.race([
    once(stopping.signal, 'abort'),
    ...children.map(async (child) => child.unexpectedEnd()),
  ]);
}

function reasonOf(error: unknown): string {
  if (timeout.aborted) {
    const logs = children.map((child) => child.failure('is still running').message).join('\n\n');
    return `this took longer than ${TIMEOUT_MS / 1000} s.\n  ${watch.describe()}\n\n${logs}`;
  }
  if (error instanceof ChildError) return error.message;
  return error instanceof Error ? error.message : String(error);
}

let exitCode = 0;
try {
  await quickstart(AbortSignal.any([stopping.signal, timeout]));
} catch (error) {
  // Being told to stop is no failure, unless a script waits for the table.
  exitCode = stopping.signal.aborted && !exitAfterTable ? 0 : 1;
  if (!stopping.signal.aborted) console.error(`\nThe quickstart failed: ${reasonOf(error)}`);
}
if (stopping.signal.aborted) console.log('\nStopping …');
await Promise.all(children.slice(1).map(async (child) => child.stop()));
await children[0]?.stop();
process.exit(exitCode);
