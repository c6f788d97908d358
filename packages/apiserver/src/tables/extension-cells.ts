import type { Stored } from '../objects.ts';
import { dig, digList, digString, digStrings } from '../objects.ts';
import type { Cell, CellOf } from './cells.ts';
import { count, joined, orNone } from './cells.ts';
import { selectorText } from './workload-cells.ts';

function subjects(binding: Stored, kind: string): string {
  return digList(binding, 'subjects')
    .filter((one) => dig(one, 'kind') === kind)
    .map((one) => {
      const namespace = digString(one, 'namespace');
      return kind === 'ServiceAccount' ? `${namespace}/${digString(one, 'name')}` : digString(one, 'name');
    })
    .join(', ');
}

const BINDING_CELLS: Readonly<Record<string, CellOf>> = {
  Role: (o) => `${digString(o, 'roleRef', 'kind')}/${digString(o, 'roleRef', 'name')}`,
  Users: (o) => subjects(o, 'User'),
  Groups: (o) => subjects(o, 'Group'),
  ServiceAccounts: (o) => subjects(o, 'ServiceAccount'),
};

function shown(value: unknown, missing: string): string {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    ? String(value)
    : missing;
}

function listed(path: readonly string[]): CellOf {
  return (object): Cell => digList(object, ...path).length;
}

/** Cells of the other groups' resources by storage name and column. */
export const EXTENSION_CELLS: Readonly<Record<string, Readonly<Record<string, CellOf>>>> = {
  'rbac.authorization.k8s.io/clusterrolebindings': BINDING_CELLS,
  'rbac.authorization.k8s.io/rolebindings': BINDING_CELLS,
  'coordination.k8s.io/leases': { Holder: (o) => digString(o, 'spec', 'holderIdentity') },
  'networking.k8s.io/ingresses': {
    Class: (o) => orNone(digString(o, 'spec', 'ingressClassName')),
    Hosts: (o) =>
      digList(o, 'spec', 'rules')
        .map((rule) => digString(rule, 'host') || '*')
        .join(',') || '*',
    Address: (o) =>
      digList(o, 'status', 'loadBalancer', 'ingress')
        .map((one) => digString(one, 'ip') || digString(one, 'hostname'))
        .join(','),
    Ports: (o) => (digList(o, 'spec', 'tls').length > 0 ? '80, 443' : '80'),
  },
  'networking.k8s.io/ingressclasses': {
    Controller: (o) => digString(o, 'spec', 'controller'),
    Parameters: (o) => {
      const kind = digString(o, 'spec', 'parameters', 'kind');
      const group = digString(o, 'spec', 'parameters', 'apiGroup');
      const name = digString(o, 'spec', 'parameters', 'name');
      return kind === '' ? '<none>' : `${kind}${group === '' ? '' : `.${group}`}/${name}`;
    },
  },
  'networking.k8s.io/networkpolicies': { 'Pod-Selector': (o) => selectorText(dig(o, 'spec', 'podSelector')) },
  'policy/poddisruptionbudgets': {
    'Min Available': (o) => shown(dig(o, 'spec', 'minAvailable'), 'N/A'),
    'Max Unavailable': (o) => shown(dig(o, 'spec', 'maxUnavailable'), 'N/A'),
    'Allowed Disruptions': (o) => count(o, 'status', 'disruptionsAllowed'),
  },
  'autoscaling/horizontalpodautoscalers': {
    Reference: (o) =>
      `${digString(o, 'spec', 'scaleTargetRef', 'kind')}/${digString(o, 'spec', 'scaleTargetRef', 'name')}`,
    Targets: () => '<unknown>',
    MinPods: (o) => shown(dig(o, 'spec', 'minReplicas'), '<unset>'),
    MaxPods: (o) => String(count(o, 'spec', 'maxReplicas')),
    Replicas: (o) => String(count(o, 'status', 'currentReplicas')),
  },
  'scheduling.k8s.io/priorityclasses': {
    Value: (o) => count(o, 'value'),
    'Global-Default': (o) => dig(o, 'globalDefault') === true,
    PreemptionPolicy: (o) => digString(o, 'preemptionPolicy'),
  },
  'storage.k8s.io/storageclasses': {
    Provisioner: (o) => digString(o, 'provisioner'),
    ReclaimPolicy: (o) => digString(o, 'reclaimPolicy'),
    VolumeBindingMode: (o) => digString(o, 'volumeBindingMode'),
    AllowVolumeExpansion: (o) => String(dig(o, 'allowVolumeExpansion') === true),
  },
  'apiregistration.k8s.io/apiservices': {
    Service: (o) => {
      const name = digString(o, 'spec', 'service', 'name');
      return name === '' ? 'Local' : `${digString(o, 'spec', 'service', 'namespace')}/${name}`;
    },
    Available: (o) => {
      const found = digList(o, 'status', 'conditions').find((one) => dig(one, 'type') === 'Available');
      return digString(found, 'status') || 'Unknown';
    },
  },
  'admissionregistration.k8s.io/mutatingwebhookconfigurations': { Webhooks: listed(['webhooks']) },
  'admissionregistration.k8s.io/validatingwebhookconfigurations': { Webhooks: listed(['webhooks']) },
  'admissionregistration.k8s.io/validatingadmissionpolicies': {
    Validations: listed(['spec', 'validations']),
    ParamKind: (o) => {
      const kind = digString(o, 'spec', 'paramKind', 'kind');
      return kind === '' ? '<unset>' : `${digString(o, 'spec', 'paramKind', 'apiVersion')}/${kind}`;
    },
  },
  'discovery.k8s.io/endpointslices': {
    AddressType: (o) => digString(o, 'addressType'),
    Ports: (o) => joined(digList(o, 'ports').map((port) => String(count(port, 'port')))),
    Endpoints: (o) => joined(digList(o, 'endpoints').flatMap((one) => digStrings(one, 'addresses'))),
  },
  'node.k8s.io/runtimeclasses': { Handler: (o) => digString(o, 'handler') },
  'certificates.k8s.io/certificatesigningrequests': {
    SignerName: (o) => digString(o, 'spec', 'signerName'),
    Requestor: (o) => digString(o, 'spec', 'username'),
    RequestedDuration: (o) => shown(dig(o, 'spec', 'expirationSeconds'), '<none>'),
    Condition: (o) => {
      const types = digList(o, 'status', 'conditions').map((one) => digString(one, 'type'));
      const issued = digString(o, 'status', 'certificate') === '' ? [] : ['Issued'];
      return [...types, ...issued].join(',') || 'Pending';
    },
  },
};
