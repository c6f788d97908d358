import { isRecord, jsonEqual } from '@mural/core';
import { type KubeObject, parseApiVersion } from '@mural/kube';

/** `patchMergeKey` of Kubernetes' built-in types, by the name of the list. Lists not named are replaced whole. */
const MERGE_KEYS: Readonly<Record<string, readonly string[]>> = {
  containers: ['name'],
  initContainers: ['name'],
  ephemeralContainers: ['name'],
  volumes: ['name'],
  env: ['name'],
  imagePullSecrets: ['name'],
  secrets: ['name'],
  volumeMounts: ['mountPath'],
  volumeDevices: ['devicePath'],
  // A container's ports go by containerPort, a Service's by port.
  ports: ['containerPort', 'port'],
  hostAliases: ['ip'],
  topologySpreadConstraints: ['topologyKey'],
  ownerReferences: ['uid'],
  conditions: ['type'],
  webhooks: ['name'],
};

/** API groups whose lists have merge keys: those of Kubernetes itself. */
const BUILT_IN =
  /^(?:[a-z]+|(?:admissionregistration|rbac\.authorization|networking|storage|policy|scheduling|node|coordination|discovery|flowcontrol\.apiserver|apiextensions|certificates|events|apiregistration)(?:\.k8s\.io)?)$/;

/**
 * Strategic merge patch as kustomize makes it: over the built-in merge keys, what the patch names first;
 * lists of kinds that are not Kubernetes' own are replaced whole. `$patch: delete|replace` and `null` remove. The
 * inputs are not changed.
 *
 * @param object the object that is patched, which tells what is known of its lists
 */
export function strategicMerge(target: unknown, patch: unknown, object: KubeObject): unknown {
  const { group } = parseApiVersion(object.apiVersion);
  return merge(target, patch, group === '' || BUILT_IN.test(group));
}

function merge(target: unknown, patch: unknown, keyed: boolean): unknown {
  if (!isRecord(patch)) return structuredClone(patch);
  if (patch['$patch'] === 'replace' || !isRecord(target)) return withoutDirectives(patch);
  const result: Record<string, unknown> = { ...target };
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith('$deleteFromPrimitiveList/')) removePrimitives(result, key, value);
    if (key.startsWith('$') || key === '__proto__') continue;
    if (value === null) Reflect.deleteProperty(result, key);
    else if (isRecord(value) && value['$patch'] === 'delete') Reflect.deleteProperty(result, key);
    else if (Array.isArray(value)) result[key] = mergeLists(key, result[key], value, keyed);
    else result[key] = merge(result[key], value, keyed);
  }
  return result;
}

function mergeLists(field: string, target: unknown, patch: readonly unknown[], keyed: boolean): unknown {
  const before = Array.isArray(target) ? (target as readonly unknown[]) : [];
  const whole = patch.some((item) => isRecord(item) && item['$patch'] === 'replace');
  if (keyed && field === 'finalizers' && !whole) {
    return [...patch, ...before.filter((item) => !patch.includes(item))];
  }
  const key = keyed ? mergeKey(field, [...before, ...patch]) : undefined;
  if (key === undefined || whole) {
    return patch.filter((item) => !isRecord(item) || item['$patch'] === undefined).map(withoutDirectives);
  }
  const items = patch.filter(isRecord);
  const patched = items.flatMap((item) => {
    if (item['$patch'] === 'delete') return [];
    return [
      merge(
        before.find((other) => sameKey(other, item, key)),
        item,
        keyed,
      ),
    ];
  });
  return [...patched, ...before.filter((other) => !items.some((item) => sameKey(other, item, key)))];
}

/** Further fields that tell items of equal key apart, and what they are when they are not there. */
const TOLD_APART_BY: Readonly<Record<string, readonly [string, string]>> = {
  containerPort: ['protocol', 'TCP'],
  port: ['protocol', 'TCP'],
  topologyKey: ['whenUnsatisfiable', ''],
};

function sameKey(a: unknown, b: Readonly<Record<string, unknown>>, key: string): boolean {
  if (!isRecord(a) || !jsonEqual(a[key], b[key])) return false;
  const [field, otherwise] = TOLD_APART_BY[key] ?? [];
  return field === undefined || (a[field] ?? otherwise) === (b[field] ?? otherwise);
}

/** The key that every item has, of those that the field may be merged by. */
function mergeKey(field: string, items: readonly unknown[]): string | undefined {
  const keys = Object.hasOwn(MERGE_KEYS, field) ? MERGE_KEYS[field] : undefined;
  return keys?.find((key) =>
    items.every(
      (item) => isRecord(item) && (item[key] !== undefined || Object.keys(item).join() === '$patch'),
    ),
  );
}

function removePrimitives(result: Record<string, unknown>, directive: string, values: unknown): void {
  const field = directive.slice('$deleteFromPrimitiveList/'.length);
  const list = result[field];
  if (!Array.isArray(list) || !Array.isArray(values)) return;
  result[field] = list.filter((item) => !values.includes(item));
}

function withoutDirectives(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutDirectives);
  if (!isRecord(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key, inner]) => !key.startsWith('$') && inner !== null)
      .map(([key, inner]) => [key, withoutDirectives(inner)]),
  );
}
