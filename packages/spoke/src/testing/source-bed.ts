import { mkdtemp, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ProcessEnvironment, silentLogger } from '@mural/core';
import { eventually } from '@mural/core/testing';
import {
  createCache,
  createEventRecorder,
  OCI_REPOSITORIES,
  type OCIRepository,
  type OCIRepositorySpec,
} from '@mural/kube';
import { packArtifact, unpackLayer } from '@mural/oci';
import { type FakeRegistry, type FakeRegistryOptions, startFakeRegistry } from '@mural/oci/testing';
import { createSourceController } from '../source/controller.ts';
import { ArtifactStorage } from '../source/storage.ts';
import { conditionOf, type Files, NAMESPACE, request } from './bed.ts';
import { ControllerBed, type SeenEvent } from './controller-bed.ts';

/** The repository that the tests pull from. */
export const REPOSITORY = 'mural/apps';

/** The source controller over an API in memory and a registry on the loopback interface. */
export class SourceBed extends ControllerBed {
  readonly registry: FakeRegistry;

  private constructor(dataDir: string, registry: FakeRegistry) {
    super(dataDir);
    this.registry = registry;
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
    this.started(events, [
      async () => source.controller.stop(),
      async () => sources.stop(),
      async () => source.close(),
    ]);
  }

  override async close(): Promise<void> {
    await super.close();
    await this.registry.close();
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
    return this.eventsAbout('source');
  }

  /** Paths in the artifact that a source offers, as it is stored. */
  async stored({ status }: OCIRepository): Promise<string[]> {
    const storage = new ArtifactStorage(this.dataDir);
    const ref = { namespace: NAMESPACE, name: 'source' };
    const content = await storage.read(ref, status?.artifact?.digest ?? '');
    return [...(await unpackLayer(content)).keys()].sort();
  }

  /** Names of the stored files. */
  async files(): Promise<string[]> {
    const folder = join(this.dataDir, 'ocirepository', NAMESPACE, 'source');
    return (await readdir(folder).catch(() => [])).sort();
  }
}
