import {
  backoff,
  type Clock,
  jitter,
  type Logger,
  parseDuration,
  type ProcessEnvironment,
  type Random,
} from '@mural/core';
import {
  type Cache,
  type Controller,
  createController,
  type EventRecorder,
  type KubeClient,
  OCI_REPOSITORIES,
  type OCIRepository,
  OCIRepositorySpec,
  type OCIRepositoryStatus,
  ReconcileError,
  type ReconcileResult,
} from '@mural/kube';
import { LatestObjects } from '../latest.ts';
import {
  conditionMessage,
  ensureFinalizer,
  inputsOf,
  patchStatus,
  removeFinalizer,
  splitKey,
} from '../status.ts';
import { AccessResolver } from './access.ts';
import { ClientPool } from './clients.ts';
import { CloudIdentities } from './identities.ts';
import {
  reconcileArtifact,
  reconcileSource,
  reconcileStorage,
  type SourceRun,
  type SourceTools,
} from './steps.ts';
import type { ArtifactStorage } from './storage.ts';
import { hadFailed, summarizeSource } from './summary.ts';

/** What {@link createSourceController} needs. */
export interface SourceControllerOptions {
  readonly client: KubeClient;
  readonly sources: Cache<OCIRepository>;
  readonly storage: ArtifactStorage;
  readonly events: EventRecorder;
  readonly concurrency: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** The variables that name a proxy and the identity in a cloud: `process.env` unless given. */
  readonly environment?: ProcessEnvironment | undefined;
}

/** What is remembered of a source between runs; lost without harm. */
interface Memory {
  inputs: string;
  dueAt: number;
  failures: number;
}

const FIELD_MANAGER = 'source-controller';
const INTERVAL_JITTER = 0.05;
const BACKOFF_BASE_MS = 750;
const BACKOFF_CAP_MS = 15 * 60_000;

/** The controller of OCIRepositories: keeps the last good artifact of each in the storage. */
export function createSourceController(options: SourceControllerOptions): {
  readonly controller: Controller;
  close(): Promise<void>;
} {
  const { clock, random, log, environment = process.env } = options;
  const pool = new ClientPool({ clock, random, log, environment });
  const identities = new CloudIdentities({ clock, random, log, environment });
  const reconciler = new SourceReconciler(options, pool, identities);
  const controller = createController<OCIRepository>({
    name: 'ocirepository',
    primary: options.sources,
    reconcile: async (key, signal) => reconciler.reconcile(key, signal),
    concurrency: options.concurrency,
    clock,
    random,
    log,
  });
  return { controller, close: async () => pool.close() };
}

class SourceReconciler {
  readonly #options: SourceControllerOptions;
  readonly #tools: SourceTools;
  readonly #objects: LatestObjects<OCIRepository>;
  readonly #memory = new Map<string, Memory>();

  constructor(options: SourceControllerOptions, pool: ClientPool, identities: CloudIdentities) {
    this.#options = options;
    this.#objects = new LatestObjects(options.sources);
    const { client, clock, storage } = options;
    this.#tools = { storage, clock, pool, access: new AccessResolver(client, clock, identities) };
  }

  async reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult> {
    const found = this.#objects.get(key);
    if (found === undefined) {
      this.#memory.delete(key);
      await this.#options.storage.remove(splitKey(key));
      return {};
    }
    const write = { fieldManager: FIELD_MANAGER, signal };
    if (found.metadata.deletionTimestamp !== undefined) {
      await this.#options.storage.remove(splitKey(key));
      await removeFinalizer(this.#options.client, OCI_REPOSITORIES, found, write);
      return {};
    }
    const object = await ensureFinalizer(this.#options.client, OCI_REPOSITORIES, found, write);
    if (object !== found) this.#objects.wrote(object);
    if (object.spec.suspend === true) {
      this.#memory.delete(key);
      return {};
    }
    const inputs = inputsOf(object);
    const memory = this.#memory.get(key);
    const early = memory?.inputs === inputs ? memory.dueAt - this.#options.clock.now() : 0;
    if (early > 0) return Number.isFinite(early) ? { requeueAfterMs: early } : {};
    return this.#run(key, object, inputs, signal);
  }

  /** Runs the steps, and turns their result into status, events and the next wake-up. */
  async #run(
    key: string,
    object: OCIRepository,
    inputs: string,
    signal: AbortSignal,
  ): Promise<ReconcileResult> {
    const { client, clock, log } = this.#options;
    const run = this.#begin(key, object);
    const failure = await this.#steps(run, signal);
    if (failure !== undefined)
      log.warn({ source: key, reason: failure.code, err: failure }, 'the source is not ready');
    const status = summarizeSource(run, failure, clock.now());
    const written = await patchStatus(client, OCI_REPOSITORIES, object, status, {
      fieldManager: FIELD_MANAGER,
      signal,
    });
    if (written !== undefined) this.#objects.wrote(written);
    this.#tell(run, failure, status);
    const failures = failure === undefined ? 0 : (this.#memory.get(key)?.failures ?? 0) + 1;
    const wait = this.#wait(run.spec, failure, failures);
    this.#memory.set(key, { inputs, failures, dueAt: clock.now() + wait });
    return Number.isFinite(wait) ? { requeueAfterMs: wait } : {};
  }

  #begin(key: string, object: OCIRepository): SourceRun {
    return {
      object,
      spec: object.spec,
      source: splitKey(key),
      artifact: object.status?.artifact,
      resolved: undefined,
      pulled: undefined,
    };
  }

  async #steps(run: SourceRun, signal: AbortSignal): Promise<ReconcileError | undefined> {
    const steps = [
      {
        name: 'validate',
        run: async () => {
          validate(run);
        },
      },
      { name: 'reconcileStorage', run: async () => reconcileStorage(run, this.#tools) },
      { name: 'reconcileSource', run: async () => reconcileSource(run, this.#tools, signal) },
      { name: 'reconcileArtifact', run: async () => reconcileArtifact(run, this.#tools) },
    ];
    for (const step of steps) {
      try {
        await step.run();
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof ReconcileError) return error;
        const message = `${step.name}: ${conditionMessage(error)}`;
        return new ReconcileError('generic', 'ReconciliationFailed', message, {
          cause: error,
          conditionType: 'StorageOperationFailed',
        });
      }
    }
    return undefined;
  }

  #tell(run: SourceRun, failure: ReconcileError | undefined, status: OCIRepositoryStatus): void {
    const { events } = this.#options;
    const { object, artifact } = run;
    if (failure !== undefined) {
      events.event(object, 'Warning', failure.code, conditionMessage(failure));
      return;
    }
    if (run.pulled !== undefined && artifact !== undefined) {
      events.event(object, 'Normal', 'NewArtifact', newArtifactMessage(run), {
        'source.toolkit.fluxcd.io/revision': artifact.revision,
        'source.toolkit.fluxcd.io/digest': artifact.digest,
      });
    } else if (hadFailed(object)) {
      const ready = status.conditions?.find(({ type }) => type === 'Ready');
      events.event(object, 'Normal', 'Succeeded', ready?.message ?? '');
    }
  }

  /**
   * In milliseconds: the interval after success, jittered back-off within it after a failure, never when only a
   * change of the spec can help.
   */
  #wait(spec: OCIRepositorySpec, failure: ReconcileError | undefined, failures: number): number {
    const { random } = this.#options;
    const interval = intervalOf(spec);
    if (failure?.kind === 'stalling') return Number.POSITIVE_INFINITY;
    if (failure === undefined) return jitter(interval, INTERVAL_JITTER, random);
    return backoff(
      failures,
      BACKOFF_BASE_MS,
      Math.min(BACKOFF_CAP_MS, Math.max(interval, BACKOFF_BASE_MS)),
      random,
    );
  }
}

/** Fills in defaults, and refuses fields that this controller does not know rather than pass them over. */
function validate(run: SourceRun): void {
  const parsed = OCIRepositorySpec.safeParse(run.object.spec);
  if (parsed.success) {
    Object.assign(run, { spec: parsed.data });
    return;
  }
  const [issue] = parsed.error.issues;
  const message = `spec.${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'is not valid'}`;
  const reason = issue?.path[0] === 'url' ? 'URLInvalid' : 'InvalidSpec';
  throw new ReconcileError('stalling', reason, message, { conditionType: 'FetchFailed' });
}

function intervalOf(spec: OCIRepositorySpec): number {
  try {
    return Math.max(parseDuration(spec.interval), 100);
  } catch {
    return 60_000;
  }
}

/** As Flux words it; the origin comes from the annotations that every push of flux or hue sets. */
function newArtifactMessage({ artifact, spec }: SourceRun): string {
  const metadata = artifact?.metadata ?? {};
  const source = metadata['org.opencontainers.image.source'];
  const revision = metadata['org.opencontainers.image.revision'];
  return [
    `stored artifact with revision '${artifact?.revision ?? ''}' from '${spec.url}'`,
    ...(source === undefined ? [] : [`origin source '${source}'`]),
    ...(revision === undefined ? [] : [`origin revision '${revision}'`]),
  ].join(', ');
}
