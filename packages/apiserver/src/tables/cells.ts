import { isRecord } from '@mural/core';
import type { Stored } from '../objects.ts';
import { dig, digList, digString, digStrings } from '../objects.ts';
import { age } from './ages.ts';

/** A value of a table. */
export type Cell = string | number | boolean | null;
/** Computes one cell. */
export type CellOf = (object: Stored, now: number) => Cell;

/** A number at a path, 0 without one. */
export function count(object: unknown, ...path: readonly string[]): number {
  const value = dig(object, ...path);
  return typeof value === 'number' ? value : 0;
}

/** The text, or `<none>` in place of an empty one. */
export function orNone(text: string): string {
  return text === '' ? '<none>' : text;
}

/** Joins what is there, or `<none>`. */
export function joined(values: readonly string[]): string {
  return values.length === 0 ? '<none>' : values.join(',');
}

/** `a=b,c=d`, or `<none>`. */
export function pairs(map: unknown): string {
  return isRecord(map)
    ? joined(Object.entries(map).map(([key, value]) => `${key}=${String(value)}`))
    : '<none>';
}

function size(object: unknown, ...path: readonly string[]): number {
  const value = dig(object, ...path);
  return isRecord(value) ? Object.keys(value).length : 0;
}

/** Containers of a pod template, or of a pod. */
export function containers(spec: unknown): { readonly names: string; readonly images: string } {
  const list = digList(spec, 'containers');
  return {
    names: list.map((one) => digString(one, 'name')).join(','),
    images: list.map((one) => digString(one, 'image')).join(','),
  };
}

function nodeStatus(node: Stored): string {
  const ready = digList(node, 'status', 'conditions').find((one) => dig(one, 'type') === 'Ready');
  const words = [ready === undefined ? 'Unknown' : dig(ready, 'status') === 'True' ? 'Ready' : 'NotReady'];
  if (dig(node, 'spec', 'unschedulable') === true) words.push('SchedulingDisabled');
  return words.join(',');
}

function nodeRoles(node: Stored): string {
  const prefix = 'node-role.kubernetes.io/';
  const roles = Object.keys(node.metadata.labels ?? {})
    .filter((label) => label.startsWith(prefix))
    .map((label) => label.slice(prefix.length));
  return joined(roles.sort());
}

function nodeAddress(node: Stored, type: string): string {
  const found = digList(node, 'status', 'addresses').find((one) => dig(one, 'type') === type);
  return orNone(digString(found, 'address'));
}

function externalAddress(service: Stored): string {
  const type = digString(service, 'spec', 'type');
  const given = digStrings(service, 'spec', 'externalIPs');
  if (type === 'ExternalName') return digString(service, 'spec', 'externalName');
  if (type !== 'LoadBalancer') return joined(given);
  const balanced = digList(service, 'status', 'loadBalancer', 'ingress').map(
    (one) => digString(one, 'ip') || digString(one, 'hostname'),
  );
  const all = [...balanced, ...given];
  return all.length === 0 ? '<pending>' : all.join(',');
}

function servicePorts(service: Stored): string {
  const ports = digList(service, 'spec', 'ports').map((port) => {
    const nodePort = count(port, 'nodePort');
    const protocol = digString(port, 'protocol') || 'TCP';
    return `${count(port, 'port')}${nodePort > 0 ? `:${nodePort}` : ''}/${protocol}`;
  });
  return joined(ports);
}

function endpoints(object: Stored): string {
  const all = digList(object, 'subsets').flatMap((subset) => {
    const ports = digList(subset, 'ports');
    return digList(subset, 'addresses').flatMap((address) => {
      const ip = digString(address, 'ip');
      return ports.length === 0 ? [ip] : ports.map((port) => `${ip}:${count(port, 'port')}`);
    });
  });
  const shown = all.slice(0, 3).join(',');
  return all.length > 3 ? `${shown} + ${all.length - 3} more...` : orNone(shown);
}

function eventTime(event: Stored, which: 'first' | 'last', now: number): string {
  const series = digString(event, 'series', 'lastObservedTime');
  const stamp = digString(event, which === 'first' ? 'firstTimestamp' : 'lastTimestamp');
  const time = digString(event, 'eventTime');
  return age((which === 'last' ? series : '') || stamp || time, now);
}

function eventSource(event: Stored): string {
  const component = digString(event, 'source', 'component') || digString(event, 'reportingComponent');
  const host = digString(event, 'source', 'host') || digString(event, 'reportingInstance');
  return [component, host].filter((part) => part !== '').join(', ');
}

/** Kinds whose names are printed in lower case with a dash less, as in `pod/web-0`. */
function eventObject(event: Stored): string {
  const kind = digString(event, 'involvedObject', 'kind').toLowerCase();
  const name = digString(event, 'involvedObject', 'name');
  return name === '' ? kind : `${kind}/${name}`;
}

/** Cells of the core group's resources by storage name and column. */
export const CELLS: Readonly<Record<string, Readonly<Record<string, CellOf>>>> = {
  configmaps: { Data: (o) => size(o, 'data') + size(o, 'binaryData') },
  secrets: { Type: (o) => digString(o, 'type'), Data: (o) => size(o, 'data') },
  namespaces: { Status: (o) => digString(o, 'status', 'phase') },
  nodes: {
    Status: nodeStatus,
    Roles: nodeRoles,
    Version: (o) => digString(o, 'status', 'nodeInfo', 'kubeletVersion'),
    'Internal-IP': (o) => nodeAddress(o, 'InternalIP'),
    'External-IP': (o) => nodeAddress(o, 'ExternalIP'),
    'OS-Image': (o) => digString(o, 'status', 'nodeInfo', 'osImage') || '<unknown>',
    'Kernel-Version': (o) => digString(o, 'status', 'nodeInfo', 'kernelVersion') || '<unknown>',
    'Container-Runtime': (o) => digString(o, 'status', 'nodeInfo', 'containerRuntimeVersion') || '<unknown>',
  },
  services: {
    Type: (o) => digString(o, 'spec', 'type'),
    'Cluster-IP': (o) => orNone(digString(o, 'spec', 'clusterIP')),
    'External-IP': externalAddress,
    'Port(s)': servicePorts,
    Selector: (o) => pairs(dig(o, 'spec', 'selector')),
  },
  endpoints: { Endpoints: endpoints },
  events: {
    'Last Seen': (o, now) => eventTime(o, 'last', now),
    'First Seen': (o, now) => eventTime(o, 'first', now),
    Type: (o) => digString(o, 'type'),
    Reason: (o) => digString(o, 'reason'),
    Object: eventObject,
    Subobject: (o) => digString(o, 'involvedObject', 'fieldPath'),
    Source: eventSource,
    Message: (o) => digString(o, 'message').trim(),
    Count: (o) => count(o, 'series', 'count') || count(o, 'count') || 1,
  },
  persistentvolumeclaims: {
    Status: (o) =>
      o.metadata.deletionTimestamp === undefined ? digString(o, 'status', 'phase') : 'Terminating',
    Volume: (o) => digString(o, 'spec', 'volumeName'),
    Capacity: (o) => digString(o, 'status', 'capacity', 'storage'),
    'Access Modes': (o) => accessModes(digStrings(o, 'status', 'accessModes')),
    StorageClass: (o) => digString(o, 'spec', 'storageClassName'),
    VolumeAttributesClass: (o) => digString(o, 'spec', 'volumeAttributesClassName') || '<unset>',
    VolumeMode: (o) => digString(o, 'spec', 'volumeMode') || '<unset>',
  },
  persistentvolumes: {
    Capacity: (o) => digString(o, 'spec', 'capacity', 'storage'),
    'Access Modes': (o) => accessModes(digStrings(o, 'spec', 'accessModes')),
    'Reclaim Policy': (o) => digString(o, 'spec', 'persistentVolumeReclaimPolicy'),
    Status: (o) =>
      o.metadata.deletionTimestamp === undefined ? digString(o, 'status', 'phase') : 'Terminating',
    Claim: (o) => {
      const name = digString(o, 'spec', 'claimRef', 'name');
      return name === '' ? '' : `${digString(o, 'spec', 'claimRef', 'namespace')}/${name}`;
    },
    StorageClass: (o) => digString(o, 'spec', 'storageClassName'),
    VolumeAttributesClass: (o) => digString(o, 'spec', 'volumeAttributesClassName') || '<unset>',
    Reason: (o) => digString(o, 'status', 'reason'),
    VolumeMode: (o) => digString(o, 'spec', 'volumeMode') || '<unset>',
  },
  podtemplates: {
    Containers: (o) => containers(dig(o, 'template', 'spec')).names,
    Images: (o) => containers(dig(o, 'template', 'spec')).images,
    'Pod Labels': (o) => pairs(dig(o, 'template', 'metadata', 'labels')),
  },
  resourcequotas: {
    Request: (o) => quota(o, (name) => !name.startsWith('limits.')),
    Limit: (o) => quota(o, (name) => name.startsWith('limits.')),
  },
};

const MODES: Readonly<Record<string, string>> = {
  ReadWriteOnce: 'RWO',
  ReadOnlyMany: 'ROX',
  ReadWriteMany: 'RWX',
  ReadWriteOncePod: 'RWOP',
};

function accessModes(modes: readonly string[]): string {
  return modes.map((mode) => MODES[mode] ?? mode).join(',');
}

function quota(object: Stored, wanted: (name: string) => boolean): string {
  const hard = dig(object, 'status', 'hard') ?? dig(object, 'spec', 'hard');
  if (!isRecord(hard)) return '';
  return Object.keys(hard)
    .filter(wanted)
    .sort()
    .map((name) => `${name}: ${digString(object, 'status', 'used', name) || '0'}/${String(hard[name])}`)
    .join(', ');
}
