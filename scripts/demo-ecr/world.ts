import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  createKubeClient,
  type KubeClient,
  loadKubeConfig,
  OCI_REPOSITORIES,
  type OCIRepository,
  type Resource,
  type UnstructuredObject,
} from '@mural/kube';
import { type Aws, type Identity, type OidcIssuer, startAws } from '../../test/fixtures/ecr/index.ts';
import { Child, runMural } from '../quickstart/child.ts';
import { DEFAULT_VALUES, VALUES } from './files.ts';
import { DemoError } from './story.ts';

/** The repository and the names of the task, in the place of its placeholders. */
export const NAMES = { namespace: 'team', repository: 'mural-workloads', role: 'mural' } as const;
/** The spoke that runs in a process of its own; the hub is a spoke, too. */
export const SPOKE = 'spoke-1';

const CONFIG_MAPS: Resource = {
  group: '',
  version: 'v1',
  kind: 'ConfigMap',
  plural: 'configmaps',
  namespaced: true,
};
const LOOK_MS = 40;

/** Where the clusters run, and so how their processes prove who they are: by IRSA, or as the instance. */
export type Place = 'eks' | 'iaas';

/** An AWS account with two clusters' issuers, a hub and a spoke: all of it on this machine. */
export class World {
  readonly folder: string;
  readonly aws: Aws;
  readonly place: Place;
  /** Issuer of the tokens of service accounts in the hub's cluster, and in the spoke's. */
  readonly issuers: { readonly hub: OidcIssuer; readonly spoke: OidcIssuer };
  readonly #children: Child[] = [];
  readonly #clients: KubeClient[] = [];
  readonly #looking = new AbortController();
  #looks = { made: 0, failed: [] as string[] };
  #looked: Promise<void> = Promise.resolve();
  #hub: Readonly<Record<string, string>> = {};
  #hue: Identity | undefined;
  #clusters: { readonly hub?: KubeClient; readonly spoke?: KubeClient } = {};

  private constructor(folder: string, aws: Aws, place: Place, issuers: World['issuers']) {
    this.folder = folder;
    this.aws = aws;
    this.place = place;
    this.issuers = issuers;
  }

  static async create(place: Place): Promise<World> {
    const folder = await mkdtemp(join(tmpdir(), 'mural-demo-ecr-'));
    try {
      const aws = await startAws();
      const issuers = { hub: await aws.oidcIssuer(), spoke: await aws.oidcIssuer() };
      await mkdir(join(folder, 'home'), { mode: 0o700 });
      // On instances the profile is there before the cluster, and on EKS before the annotation.
      if (place === 'iaas') aws.iam.createRole({ name: NAMES.role });
      return new World(folder, aws, place, issuers);
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** The identity of a pod: a token of its service account, or that of the instance that it runs on. */
  async #identity(issuer: OidcIssuer, name: string): Promise<Identity> {
    if (this.place === 'iaas') return await this.aws.instance(this.role, { hopLimit: 2, hops: 2 });
    return await issuer.serviceAccount({ namespace: 'mural-system', name, roleArn: this.role });
  }

  /** ARN of the role of the task. */
  get role(): string {
    return `arn:aws:iam::${this.aws.account}:role/${NAMES.role}`;
  }

  /** What the environment of hue says of its identity. */
  get hueVariables(): Readonly<Record<string, string>> {
    return this.#hue === undefined ? {} : this.aws.environment(this.#hue);
  }

  /** What the ready file of the hub says. */
  get hub(): Readonly<Record<string, string>> {
    return this.#hub;
  }

  /** Environment of the operator's commands, by access keys, or as another identity. */
  operator(identity: Identity): NodeJS.ProcessEnv {
    return {
      ...this.#surroundings(),
      ...this.aws.environment(identity),
      KUBECONFIG: join(this.folder, 'hub', 'kubeconfig'),
      AWS_PAGER: '',
    };
  }

  /** Nothing is read from or written to the folder of the user. */
  #surroundings(): NodeJS.ProcessEnv {
    const own = Object.entries(process.env).filter(
      ([name]) => !/^(AWS_|KUBECONFIG|DOCKER_CONFIG|.*_proxy$)/i.test(name),
    );
    return { ...Object.fromEntries(own), HOME: join(this.folder, 'home') };
  }

  /** Starts `mural up` with the default registry, as a pod under the service account `hue` would run. */
  async startHub(signal: AbortSignal): Promise<void> {
    await writeFile(join(this.folder, VALUES), DEFAULT_VALUES, { mode: 0o600 });
    this.#hue = await this.#identity(this.issuers.hub, 'hue');
    const base = join(this.folder, 'hub');
    await mkdir(base, { mode: 0o700 });
    const ports = ['--api-port', '0', '--registry-port', '0', '--console-port', '0'];
    const args = ['up', '--data', base, '--values', join(this.folder, VALUES), ...ports];
    const child = new Child('The hub', args, base, this.#processEnvironment(this.#hue));
    this.#children.push(child);
    this.#hub = await child.ready(signal);
    this.#clusters = { ...this.#clusters, hub: await this.#client(this.#hub['kubeconfig']) };
  }

  /** Joins the spoke, and starts it as a pod under the service account `source-controller` of its cluster. */
  async startSpoke(signal: AbortSignal): Promise<void> {
    const base = join(this.folder, SPOKE);
    const manifests = await runMural(
      ['spoke', 'bootstrap', SPOKE, '--kubeconfig', this.#hub['kubeconfig'] ?? ''],
      signal,
    );
    await writeFile(`${base}.bootstrap.yaml`, manifests, { mode: 0o600 });
    const identity = await this.#identity(this.issuers.spoke, 'source-controller');
    const args = ['spoke', 'run', '--data', base, '--bootstrap', `${base}.bootstrap.yaml`, '--api-port', '0'];
    const child = new Child(`The spoke ${SPOKE}`, args, base, this.#processEnvironment(identity));
    this.#children.push(child);
    const { kubeconfig } = await child.ready(signal);
    this.#clusters = { ...this.#clusters, spoke: await this.#client(kubeconfig) };
  }

  #processEnvironment(identity: Identity): NodeJS.ProcessEnv {
    return { ...this.#surroundings(), ...this.aws.environment(identity) };
  }

  async #client(kubeconfig = ''): Promise<KubeClient> {
    const client = createKubeClient(await loadKubeConfig({ path: kubeconfig }));
    this.#clients.push(client);
    return client;
  }

  /** Clients of the hub's cluster and of the spoke's. */
  get clusters(): { readonly hub: KubeClient; readonly spoke: KubeClient } {
    const { hub, spoke } = this.#clusters;
    if (hub === undefined || spoke === undefined)
      throw new DemoError('The hub and the spoke do not run yet.');
    return { hub, spoke };
  }

  /** Waits until the ConfigMap of the workload says this on hub and spoke. @returns seconds */
  async arrival(message: string, signal: AbortSignal): Promise<number> {
    const start = performance.now();
    const clusters = Object.values(this.clusters);
    await this.until(`the workload says "${message}" on hub and spoke`, signal, async () => {
      const found = await Promise.all(clusters.map(async (client) => messageOf(client)));
      return found.every((text) => text === message);
    });
    return (performance.now() - start) / 1000;
  }

  /** From now on looks all the time whether the spoke still has its workload. */
  startLooking(): void {
    const { signal } = this.#looking;
    const { spoke } = this.clusters;
    const look = async (): Promise<void> => {
      while (!signal.aborted) {
        this.#looks.made += 1;
        const text = await messageOf(spoke).catch((error: unknown) => `error: ${String(error)}`);
        if (text === undefined || text.startsWith('error')) this.#looks.failed.push(text ?? 'it was gone');
        await delay(LOOK_MS, undefined, { signal }).catch(() => undefined);
      }
    };
    this.#looked = look();
  }

  /** How often the spoke was looked at, and what was found where its workload should have been. */
  async stopLooking(): Promise<{ readonly made: number; readonly failed: readonly string[] }> {
    this.#looking.abort();
    await this.#looked;
    return this.#looks;
  }

  /** The OCIRepositories of both clusters. */
  async sources(): Promise<readonly { readonly cluster: string; readonly source: OCIRepository }[]> {
    const found = await Promise.all(
      Object.entries(this.clusters).map(async ([cluster, client]) => {
        const { items } = await client.list<OCIRepository>(OCI_REPOSITORIES, { namespace: 'mural-system' });
        return items.map((source) => ({ cluster, source }));
      }),
    );
    return found.flat();
  }

  /** Waits until every source of both clusters reads this repository and is Ready. */
  async reading(url: string, signal: AbortSignal): Promise<void> {
    await this.until(`every source reads ${url}`, signal, async () => {
      const sources = await this.sources();
      return sources.every(({ source }) => source.spec.url === url && isReady(source));
    });
  }

  /** Waits for something; a process that ends meanwhile is why it does not come. */
  async until(what: string, signal: AbortSignal, holds: () => Promise<boolean>): Promise<void> {
    try {
      while (!(await holds())) {
        for (const child of this.#children) if (child.ended) throw child.failure('ended');
        await delay(60, undefined, { signal });
      }
    } catch (error) {
      if (!signal.aborted) throw error;
      throw new DemoError(`It did not come to this: ${what}.`, { cause: error });
    }
  }

  /** Whether something listens on the port of the default registry. */
  async registryListens(): Promise<boolean> {
    const { hostname, port } = new URL(this.#hub['registry'] ?? '');
    const socket = connect({ host: hostname, port: Number(port) });
    const { promise, resolve } = Promise.withResolvers<boolean>();
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
    const listens = await promise;
    socket.destroy();
    return listens;
  }

  /** The ends of the logs of hub and spoke. */
  async logs(): Promise<string> {
    const names = ['hub', SPOKE];
    const texts = names.map(async (name) => {
      const text = await readFile(join(this.folder, `${name}.log`), 'utf8').catch(() => '');
      return `The end of the log of ${name}:\n${text.trimEnd().split('\n').slice(-12).join('\n')}`;
    });
    return (await Promise.all(texts)).join('\n\n');
  }

  /** Stops everything and removes the folder. */
  async close(): Promise<void> {
    this.#looking.abort();
    await this.#looked;
    await Promise.all(this.#clients.map(async (client) => client.close()));
    for (const child of [...this.#children].reverse()) await child.stop();
    await this.aws.close();
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  /** Ends the processes at once. */
  kill(): void {
    for (const child of this.#children) child.kill();
  }
}

/** Whether the condition Ready is True. */
export function isReady({ status }: OCIRepository): boolean {
  return status?.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True') === true;
}

async function messageOf(client: KubeClient): Promise<string | undefined> {
  const ref = { name: 'hello', namespace: 'default' };
  const map = await client.find<UnstructuredObject>(CONFIG_MAPS, ref);
  return (map?.['data'] as { readonly message?: string } | undefined)?.message;
}
