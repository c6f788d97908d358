import type { KubeObject } from '@mural/kube';

const PREFIX = 'kustomize.toolkit.fluxcd.io/';

/** What an object says about how it is to be applied, by annotations (or labels) of its own. */
export type ApplyOption = 'ssa' | 'force' | 'prune' | 'reconcile';

/** Whether an object carries `kustomize.toolkit.fluxcd.io/<option>: <value>`; the case of the value is not looked at. */
export function hasOption(object: KubeObject | undefined, option: ApplyOption, value: string): boolean {
  const { annotations, labels } = object?.metadata ?? {};
  const key = PREFIX + option;
  return [annotations?.[key], labels?.[key]].some((found) => found?.toLowerCase() === value.toLowerCase());
}

/** Whether an object asks to be left alone, by what is desired or by what is live. */
export function isExcluded(desired: KubeObject, live?: KubeObject): boolean {
  return [desired, live].some(
    (object) => hasOption(object, 'reconcile', 'disabled') || hasOption(object, 'ssa', 'Ignore'),
  );
}
