import { isRecord } from '@mural/core';
import type { Fields } from './check-tools.ts';
import {
  autoscalerErrors,
  bindingErrors,
  budgetErrors,
  claimErrors,
  configMapErrors,
  leaseErrors,
  priorityClassErrors,
  roleErrors,
  secretErrors,
  storageClassErrors,
} from './config-checks.ts';
import type { FieldError } from './field-error.ts';
import { ingressErrors, networkPolicyErrors, serviceErrors } from './network-checks.ts';
import { cronJobErrors, jobErrors, type KindCheck, podErrors, workloadErrors } from './workload-checks.ts';

const RBAC = 'rbac.authorization.k8s.io/v1';
const NETWORKING = 'networking.k8s.io/v1';

const CHECKS: Readonly<Record<string, KindCheck | undefined>> = {
  'apps/v1 Deployment': workloadErrors('Deployment'),
  'apps/v1 DaemonSet': workloadErrors('DaemonSet'),
  'apps/v1 StatefulSet': workloadErrors('StatefulSet'),
  'apps/v1 ReplicaSet': workloadErrors('ReplicaSet'),
  'batch/v1 Job': jobErrors,
  'batch/v1 CronJob': cronJobErrors,
  'v1 Pod': podErrors,
  'v1 Service': serviceErrors,
  'v1 ConfigMap': configMapErrors,
  'v1 Secret': secretErrors,
  'v1 PersistentVolumeClaim': claimErrors,
  [`${RBAC} Role`]: roleErrors(true),
  [`${RBAC} ClusterRole`]: roleErrors(false),
  [`${RBAC} RoleBinding`]: bindingErrors(['Role', 'ClusterRole']),
  [`${RBAC} ClusterRoleBinding`]: bindingErrors(['ClusterRole']),
  [`${NETWORKING} Ingress`]: ingressErrors,
  [`${NETWORKING} NetworkPolicy`]: networkPolicyErrors,
  'policy/v1 PodDisruptionBudget': budgetErrors,
  'autoscaling/v2 HorizontalPodAutoscaler': autoscalerErrors,
  'coordination.k8s.io/v1 Lease': leaseErrors,
  'storage.k8s.io/v1 StorageClass': storageClassErrors,
  'scheduling.k8s.io/v1 PriorityClass': priorityClassErrors,
};

/**
 * What is wrong with an object of a built-in kind beyond its types: selectors, required fields,
 * names of parts, keys, ports. The object has its defaults already. Metadata and sizes are checked
 * for all kinds alike, elsewhere.
 */
export function validateBuiltin(object: unknown): FieldError[] {
  if (!isRecord(object)) return [];
  const { apiVersion, kind } = object as Fields;
  if (typeof apiVersion !== 'string' || typeof kind !== 'string') return [];
  const key = `${apiVersion} ${kind}`;
  return Object.hasOwn(CHECKS, key) ? (CHECKS[key]?.(object) ?? []) : [];
}
