import type { Logger } from '@mural/core';
import { createLogger } from '@mural/core';
import { eventually } from '@mural/core/testing';
import {
  type Condition,
  EVENTS,
  findCondition,
  type KubeObject,
  type Resource,
  type Spoke,
  SPOKES,
  type SpokeWorkload,
  WORKLOAD_DEPLOYMENTS,
  type WorkloadDeployment,
} from '@mural/kube';
import { createFakeKubeApi, type FakeKubeApi } from '@mural/kube/testing';
import { pullArtifact, RegistryClient, unpackLayer } from '@mural/oci';
import { type FakeRegistry, startFakeRegistry } from '@mural/oci/testing';
import type { HubRegistry } from './hue/artifact-sources.ts';
import { type Hub, type HubOptions, startHub } from './hub.ts';

const REPOSITORY = 'mural/workloads';

/** A line of the hub's log. */
export type LogLine = Readonly<Record<string, unknown>>;

/** A hub over an API and a registry in memory, for the tests of this package. */
export class World {
  readonly api: FakeKubeApi;
  readonly registry: FakeRegistry;
  readonly log: LogLine[] = [];
  readonly #client: RegistryClient;
  readonly #logger: Logger;
  #hub: Hub | undefined;

  private constructor(registry: FakeRegistry) {
    this.registry = registry;
    this.api = createFakeKubeApi();
    this.#client = new RegistryClient({ registry: registry.host, insecure: true, timeoutMs: 2000 });
    this.#logger = createLogger({
      destination: { write: (line: string) => void this.log.push(JSON.parse(line) as LogLine) },
    });
  }

  /** Starts it all. */
  static async start(options: Partial<HubOptions> = {}): Promise<World> {
    const world = new World(await startFakeRegistry());
    await world.startHub(options);
    return world;
  }

  get url(): string {
    return `oci://${this.registry.host}/${REPOSITORY}`;
  }

  /** The repository of the hub, as it is told of it. */
  get home(): HubRegistry {
    return { url: this.url, client: this.#client };
  }

  /** Starts the hub, anew after {@link stopHub}. */
  async startHub(options: Partial<HubOptions> = {}): Promise<void> {
    this.#hub = await startHub({
      client: this.api,
      registries: [this.home],
      spokeRegistry: () => ({ url: this.url, interval: '5m', timeout: '60s', insecure: true }),
      log: this.#logger,
      ...options,
    });
  }

  /** Tells the hub that spokes are to read another registry. */
  refresh(): void {
    this.#hub?.refresh();
  }

  async stopHub(): Promise<void> {
    await this.#hub?.stop();
    this.#hub = undefined;
  }

  async stop(): Promise<void> {
    await this.stopHub();
    await this.#client.close();
    await this.registry.close();
  }

  /** Creates objects, or gives existing ones a new spec and labels. */
  async apply(...objects: readonly (KubeObject & { readonly spec?: unknown })[]): Promise<void> {
    for (const object of objects) {
      const resource = await this.api.resourceFor(object.apiVersion, object.kind);
      if (resource === undefined) throw new Error(`no resource for ${object.kind}`);
      const { name = '', namespace } = object.metadata;
      const found = await this.api.find<KubeObject>(resource, { name, namespace });
      if (found === undefined) await this.api.create(resource, object);
      else {
        const metadata = { ...found.metadata, ...object.metadata };
        await this.api.replace(resource, { ...found, ...object, metadata });
      }
    }
  }

  async deployment(name: string): Promise<WorkloadDeployment> {
    return await this.api.get<WorkloadDeployment>(WORKLOAD_DEPLOYMENTS, { name, namespace: 'default' });
  }

  /** Waits until a condition of a deployment is as wanted, and returns it. */
  async condition(
    name: string,
    type: string,
    wanted: { readonly status?: Condition['status']; readonly reason?: string },
  ): Promise<Condition> {
    let last: WorkloadDeployment | undefined;
    try {
      return await eventually(async () => {
        last = await this.deployment(name);
        const { generation } = last.metadata;
        const found = findCondition(last.status?.conditions, type);
        if (found === undefined || found.observedGeneration !== generation) return undefined;
        if (wanted.status !== undefined && found.status !== wanted.status) return undefined;
        return wanted.reason === undefined || found.reason === wanted.reason ? found : undefined;
      }, 5000);
    } catch (cause) {
      const stated = JSON.stringify(last?.status?.conditions, null, 1);
      throw new Error(`${name} has no ${type} ${JSON.stringify(wanted)}: ${stated}`, { cause });
    }
  }

  /** Waits until a deployment is published, and returns what is recorded per spoke. */
  async published(name: string): Promise<Record<string, { readonly tag: string; readonly digest: string }>> {
    await this.condition(name, 'Published', { status: 'True' });
    const { status } = await this.deployment(name);
    return Object.fromEntries(
      (status?.spokes ?? []).map((spoke) => [
        spoke.name,
        { tag: spoke.tag ?? '', digest: spoke.digest ?? '' },
      ]),
    );
  }

  /** The files of an artifact in the registry. */
  async files(reference: string): Promise<Record<string, string>> {
    const { layer } = await pullArtifact(this.#client, REPOSITORY, reference);
    const files = await unpackLayer(layer);
    return Object.fromEntries(
      [...files].map(([path, file]) => [path, Buffer.from(file.content).toString('utf8')]),
    );
  }

  /** The tag of the group that the own root of a spoke names. */
  async groupOf(spoke: string): Promise<string> {
    const files = await this.files(`spoke-${spoke}`);
    return /tag: (group-[0-9a-f]+)/.exec(files['group.yaml'] ?? '')?.[1] ?? '';
  }

  /** What a spoke finds when it follows its own root: the manifests of its workloads, by name. */
  async workloads(spoke: string): Promise<Record<string, string>> {
    const files = await this.files(await this.groupOf(spoke));
    const listing = files[`spokes/${spoke}/kustomization.yaml`];
    if (listing === undefined) throw new Error(`${spoke} has no folder in its group`);
    const folders = [...listing.matchAll(/workloads\/([^\s"]+)-[0-9a-f]{12}/g)];
    return Object.fromEntries(
      folders.map(([folder, name = '']) => [name, files[`${folder}/workload.yaml`] ?? '']),
    );
  }

  /** Digests by tag, of everything in the registry. */
  tags(): Record<string, string> {
    return this.registry.tags(REPOSITORY);
  }

  /** Makes the registry lose every manifest and tag. */
  async loseArtifacts(): Promise<void> {
    for (const [tag, digest] of Object.entries(this.tags())) {
      await this.#client.deleteManifest(REPOSITORY, tag);
      await this.#client.deleteManifest(REPOSITORY, digest).catch(() => undefined);
    }
  }

  /** Does something and waits until hue has looked at the deployment because of it. */
  async afterTurn(name: string, action: () => Promise<void>): Promise<void> {
    const turns = () =>
      this.api.calls.filter(({ verb, key }) => verb === 'get' && key === `default/${name}`).length;
    const before = turns();
    await action();
    await eventually(() => turns() > before);
  }

  /** What was sent to the registry so far, as `METHOD path`. */
  requests(): string[] {
    return this.registry.requests.map(({ method, path }) => `${method} ${path}`);
  }

  /** Writes the report of a spoke, as its agent would. */
  async report(spoke: string, workloads: readonly SpokeWorkload[], at = new Date()): Promise<void> {
    const lastHeartbeatTime = at.toISOString();
    await this.api.patch<Spoke>(
      SPOKES,
      { name: spoke },
      'merge',
      { status: { lastHeartbeatTime, workloads } },
      { subresource: 'status', fieldManager: 'mural-spoke' },
    );
  }

  /** Reasons of the events so far. */
  events(): string[] {
    return this.api.stored(EVENTS).map((event) => String(event['reason']));
  }

  /** How often the API was asked to write a resource. */
  writes(resource: Resource, subresource?: string): number {
    return this.api.calls.filter(
      (call) =>
        call.resource.plural === resource.plural &&
        call.subresource === subresource &&
        ['replace', 'patch', 'apply', 'create'].includes(call.verb),
    ).length;
  }
}

const apiVersion = 'mural.dev/v1alpha1';

export function spoke(name: string, labels: Readonly<Record<string, string>> = {}): KubeObject {
  return { apiVersion, kind: 'Spoke', metadata: { name, labels } };
}

export function profile(
  name: string,
  components: readonly Readonly<Record<string, unknown>>[],
  parameters?: Readonly<Record<string, unknown>>,
): KubeObject {
  const spec = parameters === undefined ? { components } : { components, parameters };
  return {
    apiVersion,
    kind: 'WorkloadProfile',
    metadata: { name, namespace: 'default' },
    spec,
  } as KubeObject;
}

export function environment(name: string, spec: Readonly<Record<string, unknown>>): KubeObject {
  return { apiVersion, kind: 'Environment', metadata: { name, namespace: 'default' }, spec } as KubeObject;
}

export function deployment(
  name: string,
  spec: Readonly<Record<string, unknown>> = {},
  profileName = name,
): KubeObject {
  return {
    apiVersion,
    kind: 'WorkloadDeployment',
    metadata: { name, namespace: 'default' },
    spec: { profileRef: { name: profileName }, environmentRef: { name: 'all' }, ...spec },
  } as KubeObject;
}

/** A component of type manifests with one ConfigMap. */
export function configMap(name: string, value: string): Record<string, unknown> {
  return {
    name: 'app',
    type: 'manifests',
    properties: {
      manifests: `apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: ${name}\ndata:\n  value: "${value}"\n`,
    },
  };
}
