import { isRecord, jsonEqual } from '@mural/core';

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

/**
 * Strategic merge patch over the built-in merge keys; `$patch: delete|replace` and `null` remove. The
 * inputs are not changed.
 */
export function strategicMerge(target: unknown, patch: unknown): unknown {
  if (!isRecord(patch)) return structuredClone(patch);
  if (patch['$patch'] === 'replace' || !isRecord(target)) return withoutDirectives(patch);
  const result: Record<string, unknown> = { ...target };
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith('$deleteFromPrimitiveList/')) removePrimitives(result, key, value);
    if (key.startsWith('$') || key === '__proto__') continue;
    if (value === null) Reflect.deleteProperty(result, key);
    else if (isRecord(value) && value['$patch'] === 'delete') Reflect.deleteProperty(result, key);
    else if (Array.isArray(value)) result[key] = mergeLists(key, result[key], value);
    else result[key] = strategicMerge(result[key], value);
  }
  return result;
}

function mergeLists(field: string, target: unknown, patch: readonly unknown[]): unknown {
  const whole = patch.some(
    (item) => isRecord(item) && item['$patch'] === 'replace' && Object.keys(item).length === 1,
  );
  const key = mergeKey(field, [...(Array.isArray(target) ? (target as unknown[]) : []), ...patch]);
  if (field === 'finalizers' && Array.isArray(target)) {
    return [...(target as unknown[]), ...patch.filter((item) => !target.includes(item))];
  }
  if (key === undefined || whole || !Array.isArray(target)) {
    return patch.filter((item) => !isRecord(item) || item['$patch'] === undefined).map(withoutDirectives);
  }
  let result = [...(target as unknown[])];
  for (const item of patch) {
    if (!isRecord(item)) continue;
    const same = (other: unknown): boolean => isRecord(other) && jsonEqual(other[key], item[key]);
    if (item['$patch'] === 'delete') result = result.filter((other) => !same(other));
    else if (result.some(same)) {
      result = result.map((other) => (same(other) ? strategicMerge(other, item) : other));
    } else result.push(withoutDirectives(item));
  }
  return result;
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
