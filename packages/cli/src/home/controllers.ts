/** Where the Pods are that stand for controllers. */
const NAMESPACE = 'mural-system';

/** The controllers that run within this process and whose logs the API serves. */
export const CONTROLLERS = ['hue', 'source-controller'] as const;
export type ControllerName = (typeof CONTROLLERS)[number];

/** The controller that a Pod stands for. */
export function controllerOf(pod: {
  readonly namespace: string;
  readonly name: string;
}): ControllerName | undefined {
  if (pod.namespace !== NAMESPACE) return undefined;
  return CONTROLLERS.find((name) => podName(name) === pod.name);
}

/** Name of the Pod that stands for a controller. */
export function podName(controller: ControllerName): string {
  return `${controller}-0`;
}
