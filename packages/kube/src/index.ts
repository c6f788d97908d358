export * from './objects.ts';
export * from './mural.ts';
export * from './flux.ts';
export * from './client.ts';
export * from './resources.ts';
export { isKubeError, KubeError, type KubeErrorCode } from './errors.ts';
export { createKubeClient, type KubeClientOptions } from './http/client.ts';
export type { KubeConnection } from './http/transport.ts';
export { type Cache, type CacheListener, type CacheOptions, createCache } from './runtime/cache.ts';
export {
  type ConditionInput,
  findCondition,
  isTrue,
  removeCondition,
  setCondition,
} from './runtime/conditions.ts';
export {
  changedBesidesStatus,
  type Controller,
  type ControllerOptions,
  type ControllerWatch,
  createController,
  type ReconcileResult,
  watching,
} from './runtime/controller.ts';
export {
  createEventRecorder,
  type EventRecorder,
  type EventRecorderOptions,
  type EventType,
} from './runtime/events.ts';
export { ReconcileError, type ReconcileErrorKind } from './runtime/reconcile-error.ts';
export { customResourceDefinitions } from './crds/definitions.ts';
export {
  conclude,
  type Outcome,
  progressing,
  runSteps,
  type Step,
  type StepResult,
  summarize,
  type SummaryOptions,
} from './runtime/steps.ts';
export {
  formatSelector,
  matchesRequirements,
  matchesSelector,
  parseSelector,
  type Requirement,
} from './selectors.ts';
export { needsNodes, type ObjectStatus, objectStatus } from './kstatus.ts';
export { installCrds } from './crds/install.ts';
export { type LeaseOptions, runWithLease } from './runtime/lease.ts';
export {
  type KubeConfigNames,
  kubeConfigText,
  loadKubeConfig,
  type LoadKubeConfigOptions,
} from './config/kubeconfig.ts';
