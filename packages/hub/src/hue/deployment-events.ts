import {
  type Condition,
  type EventRecorder,
  findCondition,
  type WorkloadDeployment,
  type WorkloadDeploymentStatus,
} from '@mural/kube';
import { statedConditions } from './summary.ts';

/** So many pushed artifacts are named one by one; more become one event with their number. */
const MOST_NAMED = 5;

/**
 * Tells of what changed between two statuses: what was pushed, rendered, published, became ready or
 * failed. A state that stays the same is not told again.
 *
 * @param deployment with its new status
 * @param pushed references that were sent to the registry
 */
export function reportChanges(
  events: EventRecorder,
  deployment: WorkloadDeployment,
  before: WorkloadDeploymentStatus | undefined,
  pushed: readonly string[],
): void {
  const old = statedConditions({ ...deployment, ...(before === undefined ? {} : { status: before }) });
  const oldConditions = before === undefined ? [] : old;
  const now = statedConditions(deployment);
  if (pushed.length > MOST_NAMED) {
    events.event(deployment, 'Normal', 'ArtifactPushed', `pushed ${pushed.length} artifacts`);
  } else {
    for (const reference of pushed) {
      events.event(deployment, 'Normal', 'ArtifactPushed', `pushed ${reference}`);
    }
  }
  for (const type of ['Rendered', 'Published', 'Ready'] as const) {
    const condition = findCondition(now, type);
    if (condition !== undefined && isNews(condition, findCondition(oldConditions, type))) {
      report(events, deployment, condition);
    }
  }
}

function isNews(now: Condition, before: Condition | undefined): boolean {
  return before?.status !== now.status || before.reason !== now.reason || before.message !== now.message;
}

function report(events: EventRecorder, deployment: WorkloadDeployment, condition: Condition): void {
  const { message, reason, status, type } = condition;
  // Being on the way is told by the conditions alone; a failure is told once, as that of `Ready`.
  if (status === 'True') events.event(deployment, 'Normal', reason, message);
  else if (status === 'False' && type === 'Ready') events.event(deployment, 'Warning', reason, message);
}
