import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually } from '@mural/core/testing';
import {
  createKubeClient,
  type KubeClient,
  loadKubeConfig,
  type Spoke,
  SPOKES,
  WORKLOAD_DEPLOYMENTS,
  type WorkloadDeployment,
} from '@mural/kube';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const BIN = join(ROOT, 'packages/cli/bin/mural.js');

/** A `mural` process that a test started. */
export interface MuralProcess {
  readonly child: ChildProcess;
  readonly data: string;
  readonly log: string;
  /** SIGTERM, then the exit code. */
  stop(): Promise<number | null>;
  /** SIGKILL: nothing gets a chance to tidy up. */
  kill(): Promise<void>;
}

/** What the ready file of `mural up` says. */
export interface HubReady {
  readonly api: string;
  readonly registry: string;
  readonly console: string;
  readonly kubeconfig: string;
  readonly dockerConfig: string;
  readonly ca: string;
  readonly metrics?: string;
}

/** A running hub and a client for its API. */
export interface Hub extends MuralProcess {
  readonly ready: HubReady;
  readonly client: KubeClient;
}

/** A running spoke in a process of its own and a client for its embedded API. */
export interface SpokeProcess extends MuralProcess {
  readonly name: string;
  readonly client: KubeClient;
}

/** A temporary folder that {@link cleanUp} removes. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'mural-test-'));
  folders.push(folder);
  return folder;
}

const folders: string[] = [];
const processes: MuralProcess[] = [];
const clients: KubeClient[] = [];

/** Ends every process a test started and removes its folders. */
export async function cleanUp(): Promise<void> {
  await Promise.all(clients.splice(0).map(async (client) => client.close()));
  await Promise.all(processes.splice(0).map(async (process) => process.kill()));
  await Promise.all(
    folders.splice(0).map(async (folder) => rm(folder, { recursive: true, force: true, maxRetries: 5 })),
  );
}

/** Runs `mural` to its end. */
export async function mural(
  args: readonly string[],
  options: { readonly env?: NodeJS.ProcessEnv; readonly cwd?: string; readonly input?: string } = {},
): Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }> {
  const child = spawn(process.execPath, [BIN, ...args], {
    cwd: options.cwd ?? ROOT,
    env: { ...process.env, ...options.env },
  });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  child.stdin.end(options.input ?? '');
  await once(child, 'close');
  return {
    code: child.exitCode,
    stdout: Buffer.concat(stdout).toString(),
    stderr: Buffer.concat(stderr).toString(),
  };
}

/** Starts a `mural` that writes a ready file, and waits for that. Its log is `<data>.log`. */
export async function startMural(
  args: readonly string[],
  data: string,
  readyFile: string,
  env: NodeJS.ProcessEnv = {},
): Promise<{ readonly process: MuralProcess; readonly ready: Record<string, string> }> {
  await mkdir(data, { recursive: true });
  await rm(readyFile, { force: true });
  const log = `${data}.log`;
  const child = spawn(process.execPath, [BIN, ...args, '--ready-file', readyFile], {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const stream = createWriteStream(log, { flags: 'a' });
  child.stdout.pipe(stream, { end: false });
  child.stderr.pipe(stream, { end: false });
  const ended = async (signal: NodeJS.Signals): Promise<number | null> => {
    if (child.exitCode === null && child.signalCode === null) {
      const exit = once(child, 'exit');
      child.kill(signal);
      await exit;
    }
    return child.exitCode;
  };
  const started: MuralProcess = {
    child,
    data,
    log,
    stop: async () => ended('SIGTERM'),
    kill: async () => {
      await ended('SIGKILL');
    },
  };
  processes.push(started);
  const ready = await eventually(async () => {
    if (child.exitCode !== null) return 'ended' as const;
    return JSON.parse(await readFile(readyFile, 'utf8')) as Record<string, string>;
  }, 60_000);
  if (ready === 'ended') throw new Error(`mural ${args.join(' ')} ended:\n${await readFile(log, 'utf8')}`);
  return { process: started, ready };
}

/** A client for a kubeconfig file. */
export async function clientFor(kubeconfig: string): Promise<KubeClient> {
  const client = createKubeClient(await loadKubeConfig({ path: kubeconfig }));
  clients.push(client);
  return client;
}

/** Starts `mural up`. With the data folder of an earlier hub it goes on from there. */
export async function startHub(
  options: {
    readonly data?: string;
    readonly args?: readonly string[];
    readonly apiPort?: number;
    readonly registryPort?: number;
    readonly env?: NodeJS.ProcessEnv;
  } = {},
): Promise<Hub> {
  const data = options.data ?? join(await temporaryFolder(), 'hub');
  const ports = [
    '--api-port',
    String(options.apiPort ?? 0),
    '--registry-port',
    String(options.registryPort ?? 0),
  ];
  const { process: started, ready } = await startMural(
    ['up', '--data', data, ...ports, '--console-port', '0', ...(options.args ?? [])],
    data,
    `${data}.ready.json`,
    options.env,
  );
  const facts = ready as unknown as HubReady;
  return { ...started, ready: facts, client: await clientFor(facts.kubeconfig) };
}

/** Joins a spoke to the hub and starts it in a process of its own. */
export async function startSpoke(
  hub: Hub,
  name: string,
  options: {
    readonly labels?: Readonly<Record<string, string>>;
    readonly data?: string;
    readonly env?: NodeJS.ProcessEnv;
  } = {},
): Promise<SpokeProcess> {
  const data = options.data ?? join(await temporaryFolder(), name);
  const labels = Object.entries(options.labels ?? {}).map(([key, value]) => `${key}=${value}`);
  const bootstrap = await mural([
    'spoke',
    'bootstrap',
    name,
    '--create',
    ...(labels.length > 0 ? ['--labels', labels.join(',')] : []),
    '--kubeconfig',
    hub.ready.kubeconfig,
  ]);
  if (bootstrap.code !== 0) throw new Error(`mural spoke bootstrap ${name}: ${bootstrap.stderr}`);
  await mkdir(data, { recursive: true });
  await writeFile(`${data}.bootstrap.yaml`, bootstrap.stdout, { mode: 0o600 });
  return restartSpoke(name, data, options.env);
}

/** Starts a spoke that was bootstrapped before. */
export async function restartSpoke(
  name: string,
  data: string,
  env?: NodeJS.ProcessEnv,
): Promise<SpokeProcess> {
  const { process: started, ready } = await startMural(
    ['spoke', 'run', '--data', data, '--bootstrap', `${data}.bootstrap.yaml`, '--api-port', '0'],
    data,
    `${data}.ready.json`,
    env,
  );
  const kubeconfig = ready.kubeconfig;
  if (kubeconfig === undefined) throw new Error('the ready file of the spoke names no kubeconfig');
  return { ...started, name, client: await clientFor(kubeconfig) };
}

/** The condition of a deployment, if it is there. */
export function condition(
  deployment: WorkloadDeployment,
  type: string,
): { readonly status: string; readonly reason: string; readonly message: string } | undefined {
  return deployment.status?.conditions?.find((entry) => entry.type === type);
}

/** Waits until the deployment is Ready at its latest generation. */
export async function deploymentReady(
  hub: Pick<Hub, 'client'> & { readonly log?: string },
  name: string,
  options: { readonly namespace?: string; readonly timeoutMs?: number } = {},
): Promise<WorkloadDeployment> {
  const ref = { name, namespace: options.namespace ?? 'default' };
  try {
    return await eventually(async () => {
      const deployment = await hub.client.get<WorkloadDeployment>(WORKLOAD_DEPLOYMENTS, ref);
      const ready = condition(deployment, 'Ready')?.status === 'True';
      return ready && deployment.status?.observedGeneration === deployment.metadata.generation && deployment;
    }, options.timeoutMs ?? 60_000);
  } catch (error) {
    const last = await hub.client.find<WorkloadDeployment>(WORKLOAD_DEPLOYMENTS, ref);
    const log =
      hub.log === undefined ? '' : (await readFile(hub.log, 'utf8')).split('\n').slice(-20).join('\n');
    throw new Error(`${name} did not become ready: ${JSON.stringify(last?.status, null, 1)}\n${log}`, {
      cause: error,
    });
  }
}

/** Waits until the hub has heard from a spoke. */
export async function spokeReady(hub: Hub, name: string): Promise<Spoke> {
  return eventually(async () => {
    const spoke = await hub.client.get<Spoke>(SPOKES, { name });
    return (
      spoke.status?.conditions?.some((entry) => entry.type === 'Ready' && entry.status === 'True') && spoke
    );
  }, 60_000);
}
