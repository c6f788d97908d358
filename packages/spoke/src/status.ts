import { isRecord, jsonEqual, MuralError } from '@mural/core';
import {
  FLUX_FINALIZER,
  isKubeError,
  type KubeClient,
  type KubeObject,
  RECONCILE_REQUEST_ANNOTATION,
  type Resource,
} from '@mural/kube';

/** An object of Flux's kinds, as far as both controllers treat them alike. */
export interface Reconcilable extends KubeObject {
  readonly status?: object;
}

/** The token of the last `flux reconcile`; echoed into `status.lastHandledReconcileAt`. */
export function requestedAt(object: KubeObject): string | undefined {
  return object.metadata.annotations?.[RECONCILE_REQUEST_ANNOTATION];
}

/** What a run was made for: a wake-up that changes none of it needs no new run before the interval is over. */
export function inputsOf(object: KubeObject, ...others: readonly (string | undefined)[]): string {
  const { uid, generation } = object.metadata;
  return JSON.stringify([uid, generation, requestedAt(object), ...others]);
}

/** Adds Flux's finalizer when it is missing; answers the object as it is then. */
export async function ensureFinalizer<T extends KubeObject>(
  client: KubeClient,
  resource: Resource,
  object: T,
  options: { readonly fieldManager: string; readonly signal: AbortSignal },
): Promise<T> {
  const finalizers = object.metadata.finalizers ?? [];
  if (finalizers.includes(FLUX_FINALIZER)) return object;
  return patchFinalizers(client, resource, object, [...finalizers, FLUX_FINALIZER], options);
}

/** Takes Flux's finalizer away, so that the object can go. One that is gone already is as good. */
export async function removeFinalizer(
  client: KubeClient,
  resource: Resource,
  object: KubeObject,
  options: { readonly fieldManager: string; readonly signal: AbortSignal },
): Promise<void> {
  const finalizers = object.metadata.finalizers ?? [];
  if (!finalizers.includes(FLUX_FINALIZER)) return;
  try {
    const rest = finalizers.filter((finalizer) => finalizer !== FLUX_FINALIZER);
    await patchFinalizers(client, resource, object, rest, options);
  } catch (error) {
    if (!isKubeError(error, 'NotFound')) throw error;
  }
}

/** The resourceVersion makes the patch a compare-and-swap: a merge patch replaces the whole list. */
async function patchFinalizers<T extends KubeObject>(
  client: KubeClient,
  resource: Resource,
  object: T,
  finalizers: readonly string[],
  options: { readonly fieldManager: string; readonly signal: AbortSignal },
): Promise<T> {
  const { name = '', namespace, resourceVersion } = object.metadata;
  const body = { metadata: { finalizers, resourceVersion } };
  return client.patch<T>(resource, { name, namespace }, 'merge', body, options);
}

/**
 * Writes the difference between two states of a status, as one merge patch on the subresource; nothing when
 * there is none.
 *
 * @returns the object as stored, or `undefined` when nothing was written or the object is gone
 */
export async function patchStatus<T extends Reconcilable>(
  client: KubeClient,
  resource: Resource,
  object: T,
  status: object,
  options: { readonly fieldManager: string; readonly signal: AbortSignal },
): Promise<T | undefined> {
  const change = mergeDifference((object.status ?? {}) as Fields, status as Fields);
  if (Object.keys(change).length === 0) return undefined;
  const { name = '', namespace } = object.metadata;
  try {
    return await client.patch<T>(
      resource,
      { name, namespace },
      'merge',
      { status: change },
      {
        ...options,
        subresource: 'status',
      },
    );
  } catch (error) {
    if (isKubeError(error, 'NotFound')) return undefined;
    throw error;
  }
}

type Fields = Readonly<Record<string, unknown>>;

/** Field by field, into maps too: what changed, and `null` for what is gone. */
function mergeDifference(before: Fields, after: Fields): Record<string, unknown> {
  const change: Record<string, unknown> = {};
  for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
    const [old, now] = [before[key], after[key]];
    if (jsonEqual(old, now)) continue;
    if (now === undefined) change[key] = null;
    else change[key] = isRecord(old) && isRecord(now) ? mergeDifference(old, now) : now;
  }
  return change;
}

/** Message and hint of an error, as a condition shows them. */
export function conditionMessage(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return error instanceof MuralError && error.hint !== undefined ? `${message}. ${error.hint}` : message;
}

/** `namespace/name` of a key. */
export function splitKey(key: string): { readonly namespace: string; readonly name: string } {
  const slash = key.indexOf('/');
  return { namespace: key.slice(0, Math.max(0, slash)), name: key.slice(slash + 1) };
}
