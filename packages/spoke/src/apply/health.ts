import { type Clock, mapLimit } from '@mural/core';
import {
  type KubeClient,
  type KubeObject,
  type KustomizationSpec,
  needsNodes,
  NODES,
  objectStatus,
  type UnstructuredObject,
} from '@mural/kube';
import { CelError, evaluateBoolean } from './cel.ts';
import { describeObject } from './order.ts';

/** Which object to judge. */
export interface HealthTarget {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string | undefined;
}

/** What is known of the health of a set of objects. */
export interface HealthVerdict {
  readonly state: 'healthy' | 'progressing' | 'failed' | 'no-nodes';
  /** One line for a condition. */
  readonly message: string;
}

type Expressions = NonNullable<KustomizationSpec['healthCheckExprs']>;
interface Judged {
  readonly object: string;
  readonly status: 'Current' | 'InProgress' | 'Failed' | 'NoNodes' | 'NotFound';
}

const MAX_NAMED = 5;

/**
 * Judges objects by kstatus' rules, and by the Kustomization's own expressions for the kinds it names.
 * On a cluster without nodes an object that needs one is not judged: nothing runs there.
 */
export class HealthJudge {
  readonly #client: KubeClient;
  readonly #nodes: NodeCount;

  constructor(client: KubeClient, clock: Clock) {
    this.#client = client;
    this.#nodes = new NodeCount(client, clock);
  }

  /** @param known live objects that were just read, by `describeObject`; the others are asked for */
  async judge(
    targets: readonly HealthTarget[],
    expressions: Expressions,
    known: ReadonlyMap<string, UnstructuredObject>,
    signal: AbortSignal,
  ): Promise<HealthVerdict> {
    const judged = await mapLimit(targets, 8, async (target) => {
      const object = known.get(describeTarget(target)) ?? (await this.#find(target, signal));
      return this.#judgeOne(target, object, expressions, signal);
    });
    return summarize(judged);
  }

  async #find(target: HealthTarget, signal: AbortSignal): Promise<UnstructuredObject | undefined> {
    const resource = await this.#client.resourceFor(target.apiVersion, target.kind);
    if (resource === undefined) return undefined;
    const { name, namespace } = target;
    return this.#client.find<UnstructuredObject>(resource, { name, namespace }, { signal });
  }

  async #judgeOne(
    target: HealthTarget,
    object: UnstructuredObject | undefined,
    expressions: Expressions,
    signal: AbortSignal,
  ): Promise<Judged> {
    const name = describeTarget(target);
    if (object === undefined) return { object: name, status: 'NotFound' };
    const expression = expressions.find(
      ({ apiVersion, kind }) => apiVersion === object.apiVersion && kind === object.kind,
    );
    if (expression !== undefined) return { object: name, status: byExpression(expression, object) };
    const { status } = objectStatus(object);
    if (status === 'Failed') return { object: name, status };
    if (needsNodes(object) && !(await this.#nodes.any(signal))) return { object: name, status: 'NoNodes' };
    return { object: name, status: status === 'Current' ? status : 'InProgress' };
  }
}

/** In progress, then failed, then current, as Flux evaluates them; a field that is not there yet is progress. */
function byExpression(expression: Expressions[number], object: UnstructuredObject): Judged['status'] {
  const holds = (text: string | undefined): boolean => {
    if (text === undefined) return false;
    try {
      return evaluateBoolean(text, object);
    } catch (error) {
      if (error instanceof CelError && error.code === 'EvaluationFailed') return false;
      throw error;
    }
  };
  if (holds(expression.inProgress)) return 'InProgress';
  if (holds(expression.failed)) return 'Failed';
  return holds(expression.current) ? 'Current' : 'InProgress';
}

function summarize(judged: readonly Judged[]): HealthVerdict {
  const failed = judged.filter(({ status }) => status === 'Failed');
  if (failed.length > 0) return { state: 'failed', message: list(failed) };
  const pending = judged.filter(({ status }) => status === 'InProgress' || status === 'NotFound');
  if (pending.length > 0) return { state: 'progressing', message: list(pending) };
  const waiting = judged.filter(({ status }) => status === 'NoNodes');
  if (waiting.length === 0) return { state: 'healthy', message: `${judged.length} objects are current` };
  const message = `applied; ${waiting.length} of ${judged.length} objects need a node and this cluster has none`;
  return { state: 'no-nodes', message };
}

function list(judged: readonly Judged[]): string {
  const named = judged.slice(0, MAX_NAMED).map(({ object, status }) => `${object} status: '${status}'`);
  const more = judged.length - named.length;
  return `[${named.join(', ')}${more > 0 ? `, and ${more} more` : ''}]`;
}

function describeTarget({ apiVersion, kind, name, namespace }: HealthTarget): string {
  return describeObject({
    apiVersion,
    kind,
    metadata: { name, ...(namespace === undefined ? {} : { namespace }) },
  });
}

/** Whether the cluster has nodes, asked at most every ten seconds. */
class NodeCount {
  readonly #client: KubeClient;
  readonly #clock: Clock;
  #asked: { readonly at: number; readonly answer: Promise<boolean> } | undefined;

  constructor(client: KubeClient, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
  }

  async any(signal: AbortSignal): Promise<boolean> {
    const now = this.#clock.now();
    if (this.#asked === undefined || now - this.#asked.at > 10_000) {
      const answer = this.#client.list<KubeObject>(NODES).then(({ items }) => items.length > 0);
      this.#asked = { at: now, answer };
      answer.catch(() => {
        this.#asked = undefined;
      });
    }
    const { answer } = this.#asked;
    signal.throwIfAborted();
    return answer;
  }
}
