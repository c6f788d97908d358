import { isRecord } from '@mural/core';
import type { Stored } from '../objects.ts';
import { compact, dig, digList, digString, omit, withMeta } from '../objects.ts';
import type { ApiResource } from './types.ts';
import { groupVersion } from './types.ts';

const served = new WeakMap<Stored, Map<string, Stored>>();

/**
 * The stored object in the version of a resource. Custom resources differ by `apiVersion` alone
 * (conversion strategy `None`); events have other field names in `events.k8s.io`.
 */
export function toServed(object: Stored, resource: ApiResource): Stored {
  const apiVersion = groupVersion(resource);
  if (object.apiVersion === apiVersion) return object;
  const versions = served.get(object) ?? new Map<string, Stored>();
  served.set(object, versions);
  let found = versions.get(apiVersion);
  if (found === undefined) {
    found = converted(object, resource, apiVersion);
    versions.set(apiVersion, found);
  }
  return found;
}

function converted(object: Stored, resource: ApiResource, apiVersion: string): Stored {
  if (resource.storage === 'events' && resource.group !== '') return renamed(object, apiVersion, TO_NEW);
  if (isOldAutoscaler(resource)) return toOldAutoscaler(object);
  return { ...object, apiVersion };
}

/** The object that a client sent in the version of a resource, as it is stored. */
export function toStored(object: Stored, resource: ApiResource): Stored {
  if (resource.storage === 'events' && resource.group !== '') return renamed(object, 'v1', TO_CORE);
  return isOldAutoscaler(resource) ? fromOldAutoscaler(object) : object;
}

/** Fields of core events and their names in `events.k8s.io/v1`. */
const TO_NEW: Readonly<Record<string, string>> = {
  involvedObject: 'regarding',
  message: 'note',
  source: 'deprecatedSource',
  firstTimestamp: 'deprecatedFirstTimestamp',
  lastTimestamp: 'deprecatedLastTimestamp',
  count: 'deprecatedCount',
  reportingComponent: 'reportingController',
};
const TO_CORE: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(TO_NEW).map(([core, other]) => [other, core]),
);

function renamed(object: Stored, apiVersion: string, names: Readonly<Record<string, string>>): Stored {
  const fields = Object.entries(object).map(([key, value]): [string, unknown] => [names[key] ?? key, value]);
  return compact({ ...Object.fromEntries(fields), apiVersion }) as Stored;
}

function isOldAutoscaler(resource: ApiResource): boolean {
  return resource.storage === 'autoscaling/horizontalpodautoscalers' && resource.version === 'v1';
}

function isCpu(metric: unknown): boolean {
  return dig(metric, 'type') === 'Resource' && digString(metric, 'resource', 'name') === 'cpu';
}

/** `autoscaling/v1` knows one metric, the utilization of the CPU; others ride along in an annotation. */
const METRICS_ANNOTATION = 'autoscaling.alpha.kubernetes.io/metrics';

function toOldAutoscaler(object: Stored): Stored {
  const metrics = digList(object, 'spec', 'metrics');
  const cpu = metrics.find(isCpu);
  const others = metrics.filter((metric) => metric !== cpu);
  const spec = omit(specOf(object), 'metrics', 'behavior');
  const target = dig(cpu, 'resource', 'target', 'averageUtilization');
  const annotations =
    others.length === 0
      ? object.metadata.annotations
      : { ...object.metadata.annotations, [METRICS_ANNOTATION]: JSON.stringify(others) };
  const old = {
    ...object,
    apiVersion: 'autoscaling/v1',
    spec: compact({ ...spec, targetCPUUtilizationPercentage: target }),
  };
  return withMeta(old, { annotations });
}

function fromOldAutoscaler(object: Stored): Stored {
  const target = dig(object, 'spec', 'targetCPUUtilizationPercentage');
  const { [METRICS_ANNOTATION]: kept, ...annotations } = { ...object.metadata.annotations };
  const cpu = {
    type: 'Resource',
    resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: target } },
  };
  const metrics = [...(target === undefined ? [] : [cpu]), ...parseMetrics(kept)];
  const spec = omit(specOf(object), 'targetCPUUtilizationPercentage');
  const now = {
    ...object,
    apiVersion: 'autoscaling/v2',
    spec: { ...spec, ...(metrics.length > 0 ? { metrics } : {}) },
  };
  return withMeta(now, { annotations: Object.keys(annotations).length > 0 ? annotations : undefined });
}

function specOf(object: Stored): Record<string, unknown> {
  return isRecord(object['spec']) ? object['spec'] : {};
}

function parseMetrics(text: string | undefined): unknown[] {
  try {
    const parsed: unknown = JSON.parse(text ?? '[]');
    return Array.isArray(parsed) ? (parsed as unknown[]) : [];
  } catch {
    return [];
  }
}
