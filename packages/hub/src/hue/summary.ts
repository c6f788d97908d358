import {
  type Condition,
  type ConditionInput,
  conditionsOf,
  progressing,
  type ReconcileError,
  RECONCILE_REQUEST_ANNOTATION,
  removeCondition,
  setCondition,
  type WorkloadDeployment,
  type WorkloadDeploymentStatus,
  type WorkloadSpokeStatus,
} from '@mural/kube';
import { fleetState, isOnItsWay, nameSome } from './fold.ts';

/** Where the roots of a deployment's spokes are. */
export interface Publication {
  /** Spokes whose root does not have what is recorded. */
  readonly pending: readonly string[];
  /** Why not, when the registry refuses or is away. */
  readonly failure: string | undefined;
}

/** All that the status of a deployment follows from. */
export interface SummaryInput {
  readonly deployment: WorkloadDeployment;
  readonly spokes: readonly WorkloadSpokeStatus[];
  readonly error: ReconcileError | undefined;
  readonly rendered: boolean;
  /** Of the last rendering that went through; `undefined` when this process has made none. */
  readonly made: { readonly objects: number; readonly artifacts: number } | undefined;
  readonly publication: Publication;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

type Stated = Omit<ConditionInput, 'type' | 'observedGeneration'>;

/** The status of a deployment: the only place where results become conditions. */
export function summarise(input: SummaryInput): WorkloadDeploymentStatus {
  const { deployment, error, spokes } = input;
  const state = fleetState(spokes);
  const requestedAt = deployment.metadata.annotations?.[RECONCILE_REQUEST_ANNOTATION];
  const ready = error === undefined ? readiness(input) : failed(error.code, error.message);
  const conditions = new Conditions(deployment, input.now);
  conditions.set('Ready', ready);
  if (error?.kind === 'stalling') {
    conditions.set('Stalled', { ...ready, status: 'True' });
    conditions.remove('Reconciling');
  } else {
    conditions.remove('Stalled');
    if (ready.status === 'True') conditions.remove('Reconciling');
    else conditions.set('Reconciling', reconciling(input, ready));
  }
  stateProgress(conditions, input);
  if (spokes.length === 0) conditions.remove('Healthy');
  else conditions.set('Healthy', health(spokes));
  return {
    ...(deployment.metadata.generation === undefined
      ? {}
      : { observedGeneration: deployment.metadata.generation }),
    conditions: conditions.list,
    spokes: [...spokes],
    summary: `${state.ready}/${state.total}`,
    ...(requestedAt === undefined ? {} : { lastHandledReconcileAt: requestedAt }),
  };
}

/** The status of a deployment whose new spec is being worked on, for those who wait for `Ready`. */
export function begun(deployment: WorkloadDeployment, now: number): WorkloadDeploymentStatus {
  const generation = deployment.metadata.generation;
  const options = { observedGeneration: generation, now };
  return {
    ...deployment.status,
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    conditions: progressing(statedConditions(deployment), 'rendering', options),
  };
}

/** The conditions of one deployment, all of its current generation. */
class Conditions {
  readonly #generation: number | undefined;
  readonly #now: number;
  list: Condition[];

  constructor(deployment: WorkloadDeployment, now: number) {
    this.#generation = deployment.metadata.generation;
    this.#now = now;
    this.list = [...statedConditions(deployment)];
  }

  set(type: string, stated: Stated): void {
    this.list = setCondition(this.list, { type, ...stated, observedGeneration: this.#generation }, this.#now);
  }

  remove(type: string): void {
    this.list = removeCondition(this.list, type);
  }
}

/** The conditions of a deployment. The schema's `undefined` is the API's absence. */
export function statedConditions(deployment: WorkloadDeployment): readonly Condition[] {
  return conditionsOf(deployment);
}

function readiness({ publication, spokes }: SummaryInput): Stated {
  if (publication.failure !== undefined) return failed('PushFailed', publication.failure);
  const { total, ready, failed: all, waiting } = fleetState(spokes);
  const broken = all.filter((spoke) => !isOnItsWay(spoke));
  const [first] = broken;
  if (first !== undefined) {
    const message = `${broken.length} of ${count(total, 'spoke')} failed: ${first.name}: ${first.message ?? 'no message'}`;
    return failed(first.reason ?? 'ReconciliationFailed', message);
  }
  if (ready === total) {
    return {
      status: 'True',
      reason: 'ReconciliationSucceeded',
      message: `ready on ${ready} of ${count(total, 'spoke')}`,
    };
  }
  const unready = [...all, ...waiting];
  const why = unready[0]?.message === undefined ? '' : ` (${unready[0].name}: ${unready[0].message})`;
  const message = `waiting for ${unready.length} of ${count(total, 'spoke')}: ${nameSome(unready)}${why}`;
  return { status: 'Unknown', reason: 'Progressing', message };
}

function reconciling({ error, publication }: SummaryInput, ready: Stated): Stated {
  const retrying = error !== undefined || publication.failure !== undefined;
  return {
    status: 'True',
    reason: retrying ? 'ProgressingWithRetry' : 'Progressing',
    message: ready.message,
  };
}

/** `Rendered` and `Published`: what the failure, if there is one, leaves untouched stays as it was. */
function stateProgress(conditions: Conditions, input: SummaryInput): void {
  const { error, made, publication, rendered, spokes } = input;
  if (error !== undefined && !rendered) {
    conditions.set('Rendered', failed(error.code, error.message));
    return;
  }
  if (made !== undefined || error !== undefined) conditions.set('Rendered', renderedAs(made, spokes.length));
  if (error !== undefined) {
    conditions.set('Published', failed(error.code, error.message));
  } else if (publication.failure !== undefined) {
    conditions.set('Published', failed('PushFailed', publication.failure));
  } else if (publication.pending.length > 0) {
    const names = nameSome(publication.pending.map((name) => ({ name })));
    conditions.set('Published', {
      status: 'Unknown',
      reason: 'Progressing',
      message: `waiting for the root of ${names}`,
    });
  } else {
    conditions.set('Published', {
      status: 'True',
      reason: 'PublishSucceeded',
      message: `published to ${count(spokes.length, 'spoke')}`,
    });
  }
}

function renderedAs(made: SummaryInput['made'], spokes: number): Stated {
  const message =
    made === undefined
      ? 'rendered'
      : `rendered ${count(made.objects, 'object')} into ${count(made.artifacts, 'artifact')} for ${count(spokes, 'spoke')}`;
  return { status: 'True', reason: 'RenderSucceeded', message };
}

/** Health over all spokes: never better than the worst of them. */
function health(spokes: readonly WorkloadSpokeStatus[]): Stated {
  const bad = spokes.filter(({ healthy }) => healthy === 'False');
  if (bad.length > 0) {
    return failed(
      bad[0]?.healthReason ?? 'HealthCheckFailed',
      `${bad.length} of ${count(spokes.length, 'spoke')} are not healthy: ${nameSome(bad)}`,
    );
  }
  const unknown = spokes.filter(({ healthy }) => healthy !== 'True');
  if (unknown.length === 0) {
    return {
      status: 'True',
      reason: 'ReconciliationSucceeded',
      message: `healthy on ${spokes.length} spokes`,
    };
  }
  // A spoke without nodes will not know better later; that is told before what is only on its way.
  const withoutNodes = unknown.filter(({ healthReason }) => healthReason === 'NoNodes');
  const told = withoutNodes.length > 0 ? withoutNodes : unknown;
  const why =
    withoutNodes.length > 0
      ? 'have no nodes to run it, so its health is not known'
      : 'do not know its health yet';
  return {
    status: 'Unknown',
    reason: told[0]?.healthReason ?? 'Progressing',
    message: `${told.length} of ${count(spokes.length, 'spoke')} ${why}: ${nameSome(told)}`,
  };
}

function failed(reason: string, message: string): Stated {
  return { status: 'False', reason, message };
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
