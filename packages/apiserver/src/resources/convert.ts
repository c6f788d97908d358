import type { Stored } from '../objects.ts';
import { compact } from '../objects.ts';
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
    found =
      resource.storage === 'events' && resource.group !== ''
        ? renamed(object, apiVersion, TO_NEW)
        : { ...object, apiVersion };
    versions.set(apiVersion, found);
  }
  return found;
}

/** The object that a client sent in the version of a resource, as it is stored. */
export function toStored(object: Stored, resource: ApiResource): Stored {
  if (resource.storage === 'events' && resource.group !== '') return renamed(object, 'v1', TO_CORE);
  return object;
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
