import { rfc3339 } from '@mural/core';
import type { Condition } from '../objects.ts';

/** A condition as a controller states it; the time of the last transition follows. */
export interface ConditionInput {
  readonly type: string;
  readonly status: Condition['status'];
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration?: number | undefined;
}

/** The longest message that `metav1.Condition` allows. */
const MAX_MESSAGE = 32_768;

/**
 * The conditions with `condition` set, in place of the one of that type or at the end.
 * `lastTransitionTime` changes only with the status (`metav1.Condition`).
 *
 * @param now milliseconds since the epoch
 */
export function setCondition(
  conditions: readonly Condition[] | undefined,
  condition: ConditionInput,
  now: number,
): Condition[] {
  const before = findCondition(conditions, condition.type);
  const { observedGeneration, ...rest } = condition;
  const next: Condition = {
    ...rest,
    message: condition.message.slice(0, MAX_MESSAGE),
    lastTransitionTime: before?.status === condition.status ? before.lastTransitionTime : rfc3339(now),
    ...(observedGeneration === undefined ? {} : { observedGeneration }),
  };
  if (before === undefined) return [...(conditions ?? []), next];
  return (conditions ?? []).map((other) => (other.type === condition.type ? next : other));
}

/** The conditions without those of the given types. */
export function removeCondition(
  conditions: readonly Condition[] | undefined,
  ...types: readonly string[]
): Condition[] {
  return (conditions ?? []).filter(({ type }) => !types.includes(type));
}

export function findCondition(
  conditions: readonly Condition[] | undefined,
  type: string,
): Condition | undefined {
  return conditions?.find((condition) => condition.type === type);
}

/** Whether the condition is there with status `True`. */
export function isTrue(conditions: readonly Condition[] | undefined, type: string): boolean {
  return findCondition(conditions, type)?.status === 'True';
}
