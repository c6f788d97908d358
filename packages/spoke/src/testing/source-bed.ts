import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ProcessEnvironment, silentLogger } from '@mural/core';
import { eventually, FakeClock } from '@mural/core/testing';
import {
  createCache,
  createEventRecorder,
  type EventRecorder,
  OCI_REPOSITORIES,
  type OCIRepository,
  type OCIRepositorySpec,
} from '@mural/kube';
import { createFakeKubeApi, type FakeKubeApi } from '@mural/kube/testing';
import { packArtifact } from '@mural/oci';
import { type FakeRegistry, type FakeRegistryOptions, startFakeRegistry } from '@mural/oci/testing';
import { createSourceController } from '../source/controller.ts';
import { ArtifactStorage } from '../source/storage.ts';
import { conditionOf, eventsAbout, type Files, NAMESPACE, request, type SeenEvent } from './bed.ts';

/** The repository that the tests pull from. */
export const REPOSITORY = 'mural/apps';

/** The source controller over an API in memory and a registry on the loopback interface. */
export class SourceBed {
  readonly api: FakeKubeApi;
  readonly clock = new FakeClock();
  readonly dataDir: string;
  readonly registry: FakeRegistry;
  /** What the controller answers for `Math.random`: a half makes jitter nothing. */
  random = 0.5;
  #events: EventRecorder | undefined;
  #stops: (() => Promise<void>)[] = [];

  private constructor(dataDir: string, registry: FakeRegistry) {
    this.dataDir = dataDir;
    this.registry = registry;
    this.api = createFakeKubeApi({ clock: this.clock });
  }

  static async create(options?: FakeRegistryOptions): Promise<SourceBed> {
    const dataDir = await mkdtemp(join(tmpdir(), 'mural-source-'));
    return new SourceBed(dataDir, await startFakeRegistry(options));
  }

  /** Starts the controller; after `halt` another one over the same API and disk. */
  start(environment: ProcessEnvironment = {}): void {
    const { api: client, clock } = this;
    const shared = { client, clock, random: () => this.random, log: silentLogger };
    const sources = createCache<OCIRepository>({ ...shared, resource: OCI_REPOSITORIES });
    const events = createEventRecorder({ client, component: 'source-controller', clock });
    const storage = new ArtifactStorage(this.dataDir);
    const source = createSourceController({
      ...shared,
      sources,
      storage,
      events,
      concurrency: 2,
      environment,
    });
    sources.start();
    source.controller.start();
    this.#events = events;
    this.#stops = [
      async () => source.controller.stop(),
      async () => sources.stop(),
      async () => source.close(),
      async () => events.flush(),
    ];
  }

  async halt(): Promise<void> {
    for (const stop of this.#stops) await stop();
    this.#stops = [];
  }

  async close(): Promise<void> {
    this.api.intercept = undefined;
    await this.halt();
    await this.registry.close();
    await rm(this.dataDir, { recursive: true, force: true });
  }

  /** Puts an artifact into the registry. @returns its digest */
  async push(files: Files, tag?: string, annotations?: Readonly<Record<string, string>>): Promise<string> {
    const packed = await packArtifact({
      files: Object.entries(files).map(([path, content]) => ({ path, content })),
      ...(annotations === undefined ? {} : { annotations }),
    });
    for (const { bytes } of [packed.config, ...packed.layers]) this.registry.addBlob(REPOSITORY, bytes);
    return this.registry.addManifest(REPOSITORY, packed.manifest, tag);
  }

  /** Makes an OCIRepository named `source`. */
  async create(spec: Partial<OCIRepositorySpec> = {}): Promise<void> {
    await this.api.create(OCI_REPOSITORIES, {
      apiVersion: 'source.toolkit.fluxcd.io/v1',
      kind: 'OCIRepository',
      metadata: { name: 'source', namespace: NAMESPACE },
      spec: {
        url: `oci://${this.registry.host}/${REPOSITORY}`,
        interval: '10m',
        insecure: true,
        ...spec,
      } as OCIRepositorySpec,
    } satisfies OCIRepository);
  }

  async change(spec: object): Promise<void> {
    await this.api.patch(OCI_REPOSITORIES, { namespace: NAMESPACE, name: 'source' }, 'merge', { spec });
  }

  get(): OCIRepository | undefined {
    return this.api.stored<OCIRepository>(OCI_REPOSITORIES)[0];
  }

  async until(holds: (source: OCIRepository) => boolean): Promise<OCIRepository> {
    return eventually(
      () => {
        const source = this.get();
        return source !== undefined && holds(source) ? source : undefined;
      },
      5000,
      5,
    );
  }

  /** Waits until `Ready` has this reason. */
  async reason(reason: string): Promise<OCIRepository> {
    return this.until((source) => conditionOf(source, 'Ready')?.reason === reason);
  }

  /** Asks for a reconcile and waits until it has been. */
  async reconcile(token = String(Math.random())): Promise<OCIRepository> {
    await request(this.api, OCI_REPOSITORIES, 'source', token);
    return this.until(({ status }) => status?.lastHandledReconcileAt === token);
  }

  /** Requests that the registry saw since the last time this was asked. */
  requests(): string[] {
    return this.registry.requests.splice(0).map(({ method, path }) => `${method} ${path}`);
  }

  async events(): Promise<SeenEvent[]> {
    await this.#events?.flush();
    return eventsAbout(this.api, 'source');
  }

  /** Names of the stored files. */
  async files(): Promise<string[]> {
    const folder = join(this.dataDir, 'ocirepository', NAMESPACE, 'source');
    return (await readdir(folder).catch(() => [])).sort();
  }
}
