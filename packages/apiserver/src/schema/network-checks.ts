import { isRecord } from '@mural/core';
import { subdomainName } from '../resources/names.ts';
import {
  duplicates,
  type Fields,
  intOrPortName,
  labelErrors,
  portError,
  records,
  ruleErrors,
  str,
  strings,
  sub,
} from './check-tools.ts';
import { type FieldError, invalidValue, notSupported, required } from './field-error.ts';

export function serviceErrors(object: Fields): FieldError[] {
  const spec = sub(object, 'spec');
  const ports = records(spec, 'ports');
  const errors = labelErrors(sub(spec, 'selector'), 'spec.selector');
  if (spec['type'] === 'ExternalName') {
    return str(spec, 'externalName') === '' ? [...errors, required('spec.externalName')] : errors;
  }
  if (ports.length === 0 && spec['clusterIP'] !== 'None') errors.push(required('spec.ports'));
  ports.forEach((port, index) => {
    const at = `spec.ports[${index}]`;
    if (ports.length > 1 && str(port, 'name') === '') errors.push(required(`${at}.name`));
    errors.push(...portError(port['port'], `${at}.port`));
    errors.push(...intOrPortName(port['targetPort'] ?? port['port'], `${at}.targetPort`));
  });
  return [...errors, ...duplicates(ports, 'name', 'spec.ports'), ...samePorts(ports)];
}

function samePorts(ports: readonly Fields[]): FieldError[] {
  const seen = new Set<string>();
  return ports.flatMap((port, index): FieldError[] => {
    const key = `${String(port['port'])}/${str(port, 'protocol') || 'TCP'}`;
    if (seen.has(key))
      return [{ field: `spec.ports[${index}]`, type: 'Duplicate', badValue: port, detail: '' }];
    seen.add(key);
    return [];
  });
}

export function ingressErrors(object: Fields): FieldError[] {
  const spec = sub(object, 'spec');
  const rules = records(spec, 'rules');
  if (rules.length === 0 && !isRecord(spec['defaultBackend'])) {
    return [invalidValue('spec', null, 'either `defaultBackend` or `rules` must be specified')];
  }
  const errors = isRecord(spec['defaultBackend'])
    ? backendErrors(spec['defaultBackend'], 'spec.defaultBackend')
    : [];
  rules.forEach((rule, index) => {
    const at = `spec.rules[${index}]`;
    const host = str(rule, 'host');
    if (host !== '') errors.push(...ruleErrors(subdomainName, host.replace(/^\*\./, ''), `${at}.host`));
    if (isRecord(rule['http'])) errors.push(...pathErrors(rule['http'], `${at}.http.paths`));
  });
  return errors;
}

const PATH_TYPES = ['Exact', 'ImplementationSpecific', 'Prefix'];

function pathErrors(http: Fields, path: string): FieldError[] {
  const paths = records(http, 'paths');
  if (paths.length === 0) return [required(path)];
  return paths.flatMap((one, index) => {
    const at = `${path}[${index}]`;
    const type = str(one, 'pathType');
    const where = str(one, 'path');
    const errors: FieldError[] = [];
    if (type === '') errors.push(required(`${at}.pathType`, 'pathType must be specified'));
    else if (!PATH_TYPES.includes(type)) errors.push(notSupported(`${at}.pathType`, type, PATH_TYPES));
    else if (!where.startsWith('/') && (type !== 'ImplementationSpecific' || where !== '')) {
      errors.push(invalidValue(`${at}.path`, where, 'must be an absolute path'));
    }
    return [...errors, ...backendErrors(sub(one, 'backend'), `${at}.backend`)];
  });
}

function backendErrors(backend: Fields, path: string): FieldError[] {
  if (isRecord(backend['resource'])) return [];
  if (!isRecord(backend['service']))
    return [invalidValue(path, '', 'resource or service backend is required')];
  const service = backend['service'];
  const port = sub(service, 'port');
  const errors = str(service, 'name') === '' ? [required(`${path}.service.name`)] : [];
  if (str(port, 'name') === '' && port['number'] === undefined) {
    errors.push(required(path, 'port name or number is required'));
  } else if (port['number'] !== undefined) {
    errors.push(...portError(port['number'], `${path}.service.port.number`));
  }
  return errors;
}

const POLICY_TYPES = ['Ingress', 'Egress'];

export function networkPolicyErrors(object: Fields): FieldError[] {
  const spec = sub(object, 'spec');
  const errors = [
    ...records(spec, 'ingress').flatMap((rule, index) =>
      policyRuleErrors(rule, 'from', `spec.ingress[${index}]`),
    ),
    ...records(spec, 'egress').flatMap((rule, index) =>
      policyRuleErrors(rule, 'to', `spec.egress[${index}]`),
    ),
  ];
  strings(spec, 'policyTypes').forEach((type, index) => {
    if (!POLICY_TYPES.includes(type))
      errors.push(notSupported(`spec.policyTypes[${index}]`, type, POLICY_TYPES));
  });
  return errors;
}

function policyRuleErrors(rule: Fields, peers: 'from' | 'to', path: string): FieldError[] {
  return [
    ...records(rule, 'ports').flatMap((port, index) =>
      port['port'] === undefined ? [] : intOrPortName(port['port'], `${path}.ports[${index}].port`),
    ),
    ...records(rule, peers).flatMap((peer, index) => {
      const any = ['podSelector', 'namespaceSelector', 'ipBlock'].some((key) => isRecord(peer[key]));
      return any ? [] : [required(`${path}.${peers}[${index}]`, 'must specify a peer')];
    }),
  ];
}
