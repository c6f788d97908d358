import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rfc3339, silentLogger } from '@mural/core';
import { eventually } from '@mural/core/testing';
import {
  type Cache,
  type Condition,
  createCache,
  createEventRecorder,
  type KubeObject,
  KUSTOMIZATIONS,
  type Kustomization,
  type KustomizationSpec,
  OCI_REPOSITORIES,
  type OCIRepository,
  RECONCILE_REQUEST_ANNOTATION,
  type Resource,
  type UnstructuredObject,
} from '@mural/kube';
import type { FakeCall, FakeKubeApi } from '@mural/kube/testing';
import { packArtifact } from '@mural/oci';
import { createApplyController } from '../apply/controller.ts';
import { ArtifactStorage } from '../source/storage.ts';
import { ControllerBed, type SeenEvent } from './controller-bed.ts';

/** The namespace that the tests work in. */
export const NAMESPACE = 'apps';

/** Files of an artifact by path. */
export type Files = Readonly<Record<string, string>>;

/** What a test may say about its Kustomization; the rest is filled in. */
export type SpecInput = Partial<Record<keyof KustomizationSpec, unknown>>;

/** A Kustomization with the least that it needs. */
export function kustomization(name: string, spec: SpecInput = {}): Kustomization {
  return {
    apiVersion: 'kustomize.toolkit.fluxcd.io/v1',
    kind: 'Kustomization',
    metadata: { name, namespace: NAMESPACE },
    spec: {
      interval: '10m',
      prune: true,
      sourceRef: { kind: 'OCIRepository', name: 'source' },
      ...spec,
    } as KustomizationSpec,
  };
}

/** The YAML of a ConfigMap. */
export function configMap(name: string, value = 'one', metadata = ''): string {
  return `apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: ${name}\n  namespace: ${NAMESPACE}\n${metadata}data:\n  key: ${JSON.stringify(value)}\n`;
}

/** A condition of an object. */
export function conditionOf(object: KubeObject | undefined, type: string): Condition | undefined {
  const { status } = (object ?? {}) as { readonly status?: { readonly conditions?: readonly Condition[] } };
  return status?.conditions?.find((condition) => condition.type === type);
}

/** Asks for a reconcile as `flux reconcile` does. */
export async function request(
  api: FakeKubeApi,
  resource: Resource,
  name: string,
  token: string,
): Promise<void> {
  const annotations = { [RECONCILE_REQUEST_ANNOTATION]: token };
  await api.patch(resource, { namespace: NAMESPACE, name }, 'merge', { metadata: { annotations } });
}

/** The apply controller over an API in memory, with artifacts put into its storage by hand. */
export class ApplyBed extends ControllerBed {
  readonly storage: ArtifactStorage;
  kustomize: string | undefined;

  private constructor(dataDir: string) {
    super(dataDir);
    this.storage = new ArtifactStorage(dataDir);
  }

  static async create(): Promise<ApplyBed> {
    return new ApplyBed(await mkdtemp(join(tmpdir(), 'mural-spoke-')));
  }

  /** Starts the controller. After `halt`, starts another one over the same API and disk, as after a crash. */
  start(): void {
    const { api: client, clock, storage } = this;
    const shared = { client, clock, random: () => this.random, log: silentLogger };
    const sources: Cache<OCIRepository> = createCache({ ...shared, resource: OCI_REPOSITORIES });
    const kustomizations: Cache<Kustomization> = createCache({ ...shared, resource: KUSTOMIZATIONS });
    const events = createEventRecorder({ client, component: 'kustomize-controller', clock });
    const controller = createApplyController({
      ...shared,
      sources,
      kustomizations,
      storage,
      events,
      kustomize: this.kustomize,
      concurrency: 4,
    });
    sources.start();
    kustomizations.start();
    controller.start();
    this.started(events, [
      async () => controller.stop(),
      async () => sources.stop(),
      async () => kustomizations.stop(),
    ]);
  }

  /** Stores an artifact and makes the source offer it. @returns its revision */
  async publish(files: Files, source = 'source', revision?: string): Promise<string> {
    const packed = await packArtifact({
      files: Object.entries(files).map(([path, content]) => ({ path, content })),
    });
    const [layer] = packed.layers;
    const ref = { namespace: NAMESPACE, name: source };
    const stored = await this.storage.write(ref, layer?.bytes ?? new Uint8Array());
    const named = revision ?? `v1@${packed.digest}`;
    const artifact = { ...stored, revision: named, lastUpdateTime: rfc3339(this.clock.now()) };
    this.api.seed({
      apiVersion: 'source.toolkit.fluxcd.io/v1',
      kind: 'OCIRepository',
      metadata: { name: source, namespace: NAMESPACE },
      spec: { url: 'oci://registry.test/apps', interval: '10m' },
      status: { artifact },
    } as KubeObject);
    return named;
  }

  /** Makes a Kustomization. */
  async create(name: string, spec: SpecInput = {}): Promise<void> {
    await this.api.create(KUSTOMIZATIONS, kustomization(name, spec));
  }

  /** Publishes, makes the Kustomization `app`, and waits until it is settled. */
  async deliver(files: Files, spec: SpecInput = {}): Promise<Kustomization> {
    await this.publish(files);
    await this.create('app', spec);
    this.start();
    return this.settled('app');
  }

  /** Changes a spec by merge patch. */
  async change(name: string, spec: object): Promise<void> {
    await this.api.patch(KUSTOMIZATIONS, { namespace: NAMESPACE, name }, 'merge', { spec });
  }

  get(name: string): Kustomization | undefined {
    return this.api.stored<Kustomization>(KUSTOMIZATIONS).find(({ metadata }) => metadata.name === name);
  }

  /** Waits until the Kustomization is Ready or not, for its present spec. */
  async settled(name: string): Promise<Kustomization> {
    return this.until(name, (object) => {
      const ready = conditionOf(object, 'Ready');
      return ready?.status !== 'Unknown' && ready?.observedGeneration === object.metadata.generation;
    });
  }

  async until(name: string, holds: (object: Kustomization) => boolean): Promise<Kustomization> {
    return eventually(
      () => {
        const object = this.get(name);
        return object !== undefined && holds(object) ? object : undefined;
      },
      5000,
      5,
    );
  }

  /** Waits until `Ready` has this reason. */
  async reason(name: string, reason: string): Promise<Kustomization> {
    return this.until(name, (object) => conditionOf(object, 'Ready')?.reason === reason);
  }

  /** Asks for a reconcile and waits until it has been. */
  async reconcile(name = 'app', token = String(Math.random())): Promise<Kustomization> {
    await request(this.api, KUSTOMIZATIONS, name, token);
    return this.until(name, ({ status }) => status?.lastHandledReconcileAt === token);
  }

  /** Events about a Kustomization, when all are written. */
  async events(name = 'app'): Promise<SeenEvent[]> {
    return this.eventsAbout(name);
  }

  stored(resource: Resource, name: string): UnstructuredObject | undefined {
    return this.api.stored(resource).find(({ metadata }) => metadata.name === name);
  }

  /** Calls that changed objects other than events and the Flux objects themselves. */
  writes(since = 0): FakeCall[] {
    return this.api.calls
      .slice(since)
      .filter(({ verb, dryRun }) => !dryRun && !['get', 'list', 'watch'].includes(verb))
      .filter(({ resource }) => !['Event', 'Kustomization', 'OCIRepository'].includes(resource.kind));
  }
}
