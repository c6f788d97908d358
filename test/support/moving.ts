import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from '@mural/core/testing';
import { type Hub, spokeBootstrap, startHub } from '@mural/hub';
import {
  CONFIG_MAPS,
  type KubeObject,
  OCI_REPOSITORIES,
  type OCIRepository,
  SECRETS,
  type Spoke,
  SPOKES,
  type SpokeStatus,
  type UnstructuredObject,
} from '@mural/kube';
import { createFakeKubeApi } from '@mural/kube/testing';
import type { RegistryClient } from '@mural/oci';
import { applyBootstrap, type RunningSpoke, startSpoke } from '@mural/spoke';
import { apply, configMap, deployment, environment, manifestsProfile } from './objects.ts';

/** A registry as the hub writes it and as spokes are told of it. */
export interface Place {
  readonly url: string;
  readonly client: RegistryClient;
  readonly insecure?: boolean;
}

const APP = { name: 'app', namespace: 'default' };

/** A hub with two registries and the spoke `edge`, in this process, with one workload. */
export class Moving {
  readonly hubApi = createFakeKubeApi();
  readonly cluster = createFakeKubeApi();
  readonly places: readonly [Place, Place];
  readonly #dataDir: string;
  #target = 0;
  #hub: Hub | undefined;
  #spoke: RunningSpoke | undefined;

  private constructor(places: readonly [Place, Place], dataDir: string) {
    this.places = places;
    this.#dataDir = dataDir;
  }

  /** Starts it all, with the workload applied from the first registry. */
  static async start(...places: [Place, Place]): Promise<Moving> {
    const moving = new Moving(places, await mkdtemp(join(tmpdir(), 'mural-move-')));
    await moving.startHub();
    await apply(
      moving.hubApi,
      {
        apiVersion: 'mural.dev/v1alpha1',
        kind: 'Spoke',
        metadata: { name: 'edge', labels: { tier: 'edge' } },
      },
      environment('edges', { tier: 'edge' }),
      deployment('app', 'app', 'edges'),
    );
    await moving.deploy('1');
    const secret = { name: 'spoke-edge-token', namespace: 'mural-system' };
    await eventually(async () => moving.hubApi.find(SECRETS, secret));
    const token = Buffer.from('token').toString('base64');
    await moving.hubApi.patch(SECRETS, secret, 'merge', { data: { token } });
    await moving.bootstrap();
    await moving.startSpoke();
    await moving.has('1');
    await moving.reads(0);
    return moving;
  }

  async stop(): Promise<void> {
    await this.stopSpoke();
    await this.stopHub();
    await rm(this.#dataDir, { recursive: true, force: true });
  }

  async startHub(): Promise<void> {
    this.#hub = await startHub({
      client: this.hubApi,
      registries: this.places,
      spokeRegistry: () => this.#settings,
    });
  }

  async stopHub(): Promise<void> {
    await this.#hub?.stop();
    this.#hub = undefined;
  }

  async startSpoke(): Promise<void> {
    this.#spoke = await startSpoke({
      ...{ client: this.cluster, hub: { client: this.hubApi }, environment: {} },
      ...{ dataDir: this.#dataDir, name: 'edge' },
    });
  }

  async stopSpoke(): Promise<void> {
    await this.#spoke?.stop();
    this.#spoke = undefined;
  }

  /** Applies what `mural spoke bootstrap` prints now. */
  async bootstrap(): Promise<void> {
    const objects = await spokeBootstrap({
      ...{ client: this.hubApi, spoke: 'edge', registry: this.#settings },
      hub: { server: 'https://hub.example.org', ca: 'CA' },
    });
    await applyBootstrap(this.cluster, objects);
  }

  get #settings() {
    const { url, insecure } = this.places[this.#target] ?? this.places[0];
    return { url, insecure, interval: '1m', timeout: '2s', secrets: { ca: false } };
  }

  /** Says which registry the spoke is to read. */
  sendTo(place: 0 | 1): void {
    this.#target = place;
    this.#hub?.refresh();
  }

  async deploy(value: string): Promise<void> {
    await apply(this.hubApi, manifestsProfile('app', configMap('app', { value })));
  }

  async status(): Promise<SpokeStatus | undefined> {
    return (await this.hubApi.get<Spoke>(SPOKES, { name: 'edge' })).status;
  }

  /** Waits until the spoke reports that all of it comes from a registry. */
  async reads(place: 0 | 1): Promise<SpokeStatus> {
    try {
      return await eventually(async () => {
        const status = await this.status();
        return status?.registryUrl === this.places[place].url && status;
      }, 30_000);
    } catch (cause) {
      throw new Error(JSON.stringify([await this.status(), this.sources()], null, 1), { cause });
    }
  }

  /** Waits until the workload has a value. */
  async has(value: string): Promise<void> {
    await eventually(async () => {
      const found = await this.cluster.find<UnstructuredObject>(CONFIG_MAPS, APP);
      return (found?.['data'] as { value?: string } | undefined)?.value === value;
    }, 30_000);
  }

  /** The object of the workload. */
  async app(): Promise<KubeObject> {
    return await this.cluster.get(CONFIG_MAPS, APP);
  }

  sources(): OCIRepository[] {
    return this.cluster.stored<OCIRepository>(OCI_REPOSITORIES);
  }

  /** A source on the spoke by its name. */
  async source(name: 'mural-root' | 'mural-group'): Promise<OCIRepository> {
    return await this.cluster.get<OCIRepository>(OCI_REPOSITORIES, { name, namespace: 'mural-system' });
  }
}
