import { createHash } from 'node:crypto';
import {
  canonicalJson,
  type Clock,
  errorMessage,
  isRecord,
  jsonEqual,
  type Logger,
  mapLimit,
  MuralError,
} from '@mural/core';
import { KubeError, type KubeClient, type Resource, type UnstructuredObject } from '@mural/kube';
import { hasOption, isExcluded } from './annotations.ts';
import { inventoryId } from './inventory.ts';
import { LiveObjects } from './live.ts';
import { FIELD_MANAGER, foldedManagers, hasForeignManagers } from './managers.ts';
import { describeObject, stagesOf } from './order.ts';
import { waitEstablished } from './wait.ts';

/** What became of one object. */
export interface AppliedObject {
  readonly id: string;
  readonly action: 'created' | 'configured' | 'unchanged' | 'skipped';
  /** The object as the API has it now. */
  readonly live: UnstructuredObject;
}

/** What was last applied, and as what it was stored: an object that still matches needs no write. */
export type ApplyRecords = Map<string, { readonly desired: string; readonly resourceVersion: string }>;

/** How {@link Applier.apply} goes about it. */
export interface ApplyOptions {
  /** Recreate objects whose change only an immutable field prevents. */
  readonly force: boolean;
  /** Read and updated: kept by the caller between runs, lost without harm. */
  readonly records: ApplyRecords;
  /** Ids that are in the inventory already. */
  readonly known: ReadonlySet<string>;
  /** Selects the objects of this Kustomization. */
  readonly ownerSelector: string;
  /** How long definitions may take to be established, in milliseconds. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** An object was refused; the message names it and gives the API's words. */
export class ApplyError extends MuralError<
  'DryRunFailed' | 'ApplyFailed' | 'KindUnknown' | 'NotEstablished'
> {}

interface Plan {
  readonly id: string;
  readonly desired: UnstructuredObject;
  readonly resource: Resource;
  readonly digest: string;
  readonly verdict: 'create' | 'configure' | 'recreate' | 'keep' | 'skip';
  readonly live: UnstructuredObject | undefined;
}

/** Applies sets of objects to a cluster. */
export interface ApplierDependencies {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  /** Objects of one set that are worked on at a time. */
  readonly concurrency: number;
}

/**
 * Brings objects to their desired state, stage by stage, by server-side apply. Namespaced objects must say
 * their namespace, and others none. A whole stage is tried
 * (dry run) before anything of it is written, and nothing is written that is as desired already.
 *
 * @throws ApplyError for the first object that is refused; what was applied before it stays
 */
export async function applyObjects(
  { client, clock, log, concurrency }: ApplierDependencies,
  objects: readonly UnstructuredObject[],
  options: ApplyOptions,
): Promise<AppliedObject[]> {
  const applied: AppliedObject[] = [];
  for (const stage of stagesOf(objects)) {
    const live = new LiveObjects(client, options.ownerSelector, options.signal);
    const desired = await mapLimit(stage.objects, concurrency, async (object) => identify(client, object));
    await live.prefetch(desired.filter(({ id }) => options.known.has(id)));
    const planner = new Planner(client, live, options);
    const plans = await mapLimit(desired, concurrency, async (item) => planner.plan(item));
    const executor = new Executor(client, clock, log, options);
    const done = await mapLimit(plans, concurrency, async (plan) => executor.execute(plan));
    if (stage.wait) await waitEstablished({ client, clock }, done, options);
    applied.push(...done);
  }
  return applied;
}

/** An object with what the API calls its kind. */
export interface Identified {
  readonly id: string;
  readonly desired: UnstructuredObject;
  readonly resource: Resource;
}

async function identify(client: KubeClient, object: UnstructuredObject): Promise<Identified> {
  const resource = await client.resourceFor(object.apiVersion, object.kind);
  if (resource === undefined) {
    throw new ApplyError(
      'KindUnknown',
      `${describeObject(object)} dry-run failed: no matches for kind "${object.kind}" in version "${object.apiVersion}"`,
      {
        hint: 'Install the definition of the kind first, or make this Kustomization depend on the one that does.',
      },
    );
  }
  return { id: inventoryId(object), desired: object, resource };
}

/** Finds out, without writing, what has to be done with an object. */
class Planner {
  readonly #client: KubeClient;
  readonly #live: LiveObjects;
  readonly #options: ApplyOptions;

  constructor(client: KubeClient, live: LiveObjects, options: ApplyOptions) {
    this.#client = client;
    this.#live = live;
    this.#options = options;
  }

  async plan(item: Identified): Promise<Plan> {
    const { id, desired } = item;
    const digest = createHash('sha256').update(canonicalJson(desired)).digest('base64');
    const careful = isExcluded(desired) || hasOption(desired, 'ssa', 'IfNotPresent');
    if (!careful && !this.#options.known.has(id)) return this.#planNew({ ...item, digest });
    const live = await this.#live.get(item);
    return this.#planAgainst({ ...item, digest }, live);
  }

  /** Nothing is known of the object: the dry run, which is needed anyway, tells whether there is one. */
  async #planNew(item: Identified & { readonly digest: string }): Promise<Plan> {
    const tried = await this.#dryRun(item, undefined);
    if (tried !== 'recreate') {
      const { resourceVersion = '' } = tried.metadata;
      if (resourceVersion === '' && !hasForeignManagers(tried)) {
        return { ...item, verdict: 'create', live: undefined };
      }
    }
    return this.#planAgainst(item, await this.#live.fetch(item));
  }

  async #planAgainst(
    item: Identified & { readonly digest: string },
    live: UnstructuredObject | undefined,
  ): Promise<Plan> {
    const { id, desired, digest } = item;
    const { records } = this.#options;
    if (isExcluded(desired, live)) return { ...item, verdict: 'skip', live };
    if (live === undefined) {
      await this.#dryRun(item, live);
      return { ...item, verdict: 'create', live };
    }
    if (hasOption(desired, 'ssa', 'IfNotPresent')) return { ...item, verdict: 'skip', live };
    const record = records.get(id);
    if (record?.desired === digest && record.resourceVersion === live.metadata.resourceVersion) {
      return { ...item, verdict: 'keep', live };
    }
    if (foldsManagers(desired, live)) return { ...item, verdict: 'configure', live };
    const tried = await this.#dryRun(item, live);
    if (tried === 'recreate') return { ...item, verdict: 'recreate', live };
    return { ...item, verdict: sameContent(live, tried) ? 'keep' : 'configure', live };
  }

  async #dryRun(
    item: Identified,
    live: UnstructuredObject | undefined,
  ): Promise<UnstructuredObject | 'recreate'> {
    const { desired, resource } = item;
    try {
      return await this.#client.apply(resource, desired, {
        fieldManager: FIELD_MANAGER,
        force: true,
        dryRun: true,
        signal: this.#options.signal,
      });
    } catch (cause) {
      const force =
        this.#options.force || [desired, live].some((object) => hasOption(object, 'force', 'enabled'));
      if (force && isImmutableChange(cause)) return 'recreate';
      throw refused('DryRunFailed', desired, 'dry-run failed', cause);
    }
  }
}

/** Carries plans out. */
class Executor {
  readonly #client: KubeClient;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #options: ApplyOptions;

  constructor(client: KubeClient, clock: Clock, log: Logger, options: ApplyOptions) {
    this.#client = client;
    this.#clock = clock;
    this.#log = log;
    this.#options = options;
  }

  async execute(plan: Plan): Promise<AppliedObject> {
    const { id, desired, live, verdict } = plan;
    if (verdict === 'skip') return { id, action: 'skipped', live: live ?? desired };
    if (verdict === 'keep' && live !== undefined) return this.#remember(plan, live, 'unchanged');
    try {
      if (verdict === 'recreate' && live !== undefined) await this.#remove(plan, live);
      else if (live !== undefined) await this.#foldManagers(plan, live);
      const stored = await this.#client.apply<UnstructuredObject>(plan.resource, desired, {
        fieldManager: FIELD_MANAGER,
        force: true,
        signal: this.#options.signal,
      });
      return this.#remember(plan, stored, actionOf(plan, stored));
    } catch (cause) {
      throw refused('ApplyFailed', desired, 'apply failed', cause);
    }
  }

  #remember(plan: Plan, live: UnstructuredObject, action: AppliedObject['action']): AppliedObject {
    const { resourceVersion } = live.metadata;
    if (resourceVersion !== undefined) {
      this.#options.records.set(plan.id, { desired: plan.digest, resourceVersion });
    }
    return { id: plan.id, action, live };
  }

  async #foldManagers(plan: Plan, live: UnstructuredObject): Promise<void> {
    if (!foldsManagers(plan.desired, live)) return;
    const { name = '', namespace, resourceVersion } = live.metadata;
    try {
      await this.#client.patch(
        plan.resource,
        { name, namespace },
        'json',
        [
          { op: 'replace', path: '/metadata/managedFields', value: foldedManagers(live) },
          { op: 'replace', path: '/metadata/resourceVersion', value: resourceVersion },
        ],
        { fieldManager: FIELD_MANAGER, signal: this.#options.signal },
      );
    } catch (error) {
      if (!(error instanceof KubeError) || !['Invalid', 'BadRequest'].includes(error.code)) throw error;
      // The object can still be applied; only fields that nobody desires may stay.
      this.#log.warn(
        { object: describeObject(live), error: error.message },
        'cannot take fields over from kubectl',
      );
    }
  }

  async #remove(plan: Plan, live: UnstructuredObject): Promise<void> {
    const { name = '', namespace, uid } = live.metadata;
    const { signal, timeoutMs } = this.#options;
    await this.#client.delete(
      plan.resource,
      { name, namespace },
      {
        propagationPolicy: 'Background',
        ...(uid === undefined ? {} : { preconditions: { uid } }),
        signal,
      },
    );
    const end = this.#clock.now() + timeoutMs;
    while ((await this.#client.find(plan.resource, { name, namespace }, { signal })) !== undefined) {
      if (this.#clock.now() > end) {
        throw new ApplyError('ApplyFailed', 'the object to be recreated was not gone in time');
      }
      await this.#clock.sleep(200, signal);
    }
  }
}

function actionOf(plan: Plan, stored: UnstructuredObject): AppliedObject['action'] {
  if (plan.live === undefined) return 'created';
  return plan.live.metadata.resourceVersion === stored.metadata.resourceVersion ? 'unchanged' : 'configured';
}

function foldsManagers(desired: UnstructuredObject, live: UnstructuredObject): boolean {
  return !hasOption(desired, 'ssa', 'Merge') && foldedManagers(live) !== undefined;
}

/** Whether two states of an object are the same in all that users set: not status, not the server's metadata. */
function sameContent(a: UnstructuredObject, b: UnstructuredObject): boolean {
  return jsonEqual(content(a), content(b));
}

function content({ status: _status, metadata, ...rest }: UnstructuredObject): unknown {
  return { ...rest, labels: metadata.labels ?? {}, annotations: metadata.annotations ?? {} };
}

/** Only this justifies recreating an object; a plain validation error must not delete anything. */
function isImmutableChange(error: unknown): boolean {
  if (!(error instanceof KubeError) || error.code !== 'Invalid') return false;
  const causes = error.status?.details?.['causes'];
  const messages = Array.isArray(causes)
    ? causes.map((cause: unknown) => (isRecord(cause) ? String(cause['message']) : ''))
    : [error.message];
  return (
    messages.length > 0 && messages.every((message) => /immutable|updates to .* are forbidden/i.test(message))
  );
}

function refused(
  code: 'DryRunFailed' | 'ApplyFailed',
  object: UnstructuredObject,
  what: string,
  cause: unknown,
): Error {
  if (cause instanceof ApplyError) return cause;
  const reason = cause instanceof KubeError ? ` (${cause.code})` : '';
  const retryable = cause instanceof MuralError && cause.retryable;
  const message = `${describeObject(object)} ${what}${reason}: ${errorMessage(cause)}`;
  return new ApplyError(code, message, { cause, retryable });
}
