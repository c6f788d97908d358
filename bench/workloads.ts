/**
 * 200 workloads of two ConfigMaps each to one spoke in a process of its own: the time until all are
 * Ready, and the CPU seconds of hub and spoke.
 *
 *     npx node bench/workloads.ts [count]
 *
 * The peer is Flux's source- and kustomize-controller on a real API server; with `--flux` the same
 * 200 pairs are run against it, from the same registry, in the same run (needs the programs that
 * `npm run test:interop:full` installs).
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '@mural/core/testing';
import { KUSTOMIZATIONS, type Kustomization, type KubeClient } from '@mural/kube';
import { startCluster } from '../test/support/cluster.ts';
import { cleanUp, clientFor, mural, startHub, startSpoke } from '../test/support/mural.ts';
import { apply, configMap, deployment, environment, manifestsProfile } from '../test/support/objects.ts';
import { run } from '../test/support/run.ts';

const count = Number(process.argv.find((argument) => /^\d+$/.test(argument)) ?? 200);

/** CPU seconds of a process so far: user and system, from /proc (100 ticks a second). */
function cpuSeconds(pid: number | undefined): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function residentMegabytes(pid: number | undefined): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

async function allReady(client: KubeClient): Promise<boolean> {
  const { items } = await client.list<Kustomization>(KUSTOMIZATIONS, { namespace: 'mural-system' });
  const ready = items.filter((item) =>
    item.status?.conditions?.some((entry) => entry.type === 'Ready' && entry.status === 'True'),
  );
  return ready.filter((item) => !/^mural-(?:root|group)$/.test(item.metadata.name ?? '')).length >= count;
}

const names = Array.from({ length: count }, (_, index) => `bench-${index}`);
const hub = await startHub();
console.log(`hub at rest: ${residentMegabytes(hub.child.pid).toFixed(0)} MB`);
await apply(hub.client, environment('bench', { tier: 'bench' }));

const edge = await startSpoke(hub, 'edge', { labels: { tier: 'bench' } });
const before = { hub: cpuSeconds(hub.child.pid), edge: cpuSeconds(edge.child.pid) };
const started = performance.now();
for (const name of names) {
  const manifests = `${configMap(`${name}-a`, { a: '1' })}---\n${configMap(`${name}-b`, { b: '2' })}`;
  await apply(hub.client, manifestsProfile(name, manifests), deployment(name, name, 'bench'));
}
const applied = performance.now();
await eventually(async () => allReady(edge.client), 300_000, 100);
const seconds = (performance.now() - started) / 1000;
console.log(
  `mural: ${count} workloads Ready on the spoke after ${seconds.toFixed(1)} s (apply ${((applied - started) / 1000).toFixed(1)} s), ` +
    `CPU: hub ${(cpuSeconds(hub.child.pid) - before.hub).toFixed(1)} s, spoke ${(cpuSeconds(edge.child.pid) - before.edge).toFixed(1)} s, ` +
    `memory: hub ${residentMegabytes(hub.child.pid).toFixed(0)} MB, spoke ${residentMegabytes(edge.child.pid).toFixed(0)} MB`,
);

if (process.argv.includes('--flux')) {
  const cluster = await startCluster();
  try {
    await cluster.flux();
    const pid = (name: string) => Number(readFileSync(join(cluster.folder, `${name}.pid`), 'utf8'));
    const programs = ['source-controller', 'kustomize-controller', 'kube-apiserver', 'etcd'];
    const cpu = () => programs.map((name) => cpuSeconds(pid(name)));
    const client = await clientFor(cluster.kubeconfig);
    const bootstrap = await mural([
      ...['spoke', 'bootstrap', 'flux', '--create', '--labels', 'tier=bench'],
      ...['--kubeconfig', hub.ready.kubeconfig],
    ]);
    const file = join(cluster.folder, 'bootstrap.yaml');
    writeFileSync(file, bootstrap.stdout);
    await new Promise((resolve) => setTimeout(resolve, 3000));
    const first = cpu();
    const start = performance.now();
    await run('kubectl', ['--kubeconfig', cluster.kubeconfig, 'apply', '--server-side', '-f', file]);
    await eventually(async () => allReady(client), 600_000, 250);
    const spent = cpu().map(
      (value, index) => `${programs[index]} ${(value - (first[index] ?? 0)).toFixed(1)} s`,
    );
    console.log(
      `Flux: ${count} workloads Ready ${((performance.now() - start) / 1000).toFixed(1)} s after the bootstrap, CPU: ${spent.join(', ')}`,
    );
  } finally {
    await cluster.down();
  }
}
await cleanUp();
