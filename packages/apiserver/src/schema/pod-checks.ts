import { isRecord } from '@mural/core';
import { labelName, subdomainName } from '../resources/names.ts';
import {
  duplicates,
  type Fields,
  intOrPortName,
  num,
  portError,
  portNameErrors,
  records,
  requireAll,
  ruleErrors,
  str,
  sub,
} from './check-tools.ts';
import { type FieldError, invalidValue, required } from './field-error.ts';
import { isQuantity, nanoUnits } from './quantity.ts';

/** What is wrong with a `PodSpec` (`validation.ValidatePodSpec`, the checks that users meet). */
export function podSpecErrors(spec: Fields, path: string): FieldError[] {
  const volumes = records(spec, 'volumes');
  const names = new Set(volumes.map((volume) => str(volume, 'name')));
  const containers = records(spec, 'containers');
  const initial = records(spec, 'initContainers');
  const errors = [
    ...volumeErrors(volumes, `${path}.volumes`),
    ...(containers.length === 0 ? [required(`${path}.containers`)] : []),
    ...containers.flatMap((container, index) =>
      containerErrors(container, names, `${path}.containers[${index}]`),
    ),
    ...duplicates(containers, 'name', `${path}.containers`),
    ...initial.flatMap((container, index) =>
      containerErrors(container, names, `${path}.initContainers[${index}]`),
    ),
    ...sharedNames(initial, containers, `${path}.initContainers`),
    ...tolerationErrors(records(spec, 'tolerations'), `${path}.tolerations`),
  ];
  const account = str(spec, 'serviceAccountName');
  if (account !== '') errors.push(...ruleErrors(subdomainName, account, `${path}.serviceAccountName`));
  return errors;
}

function sharedNames(initial: readonly Fields[], containers: readonly Fields[], path: string): FieldError[] {
  const taken = new Set(containers.map((container) => str(container, 'name')));
  const shared = initial.flatMap((container, index): FieldError[] => {
    const name = str(container, 'name');
    if (name === '' || !taken.has(name)) return [];
    return [{ field: `${path}[${index}].name`, type: 'Duplicate', badValue: name, detail: '' }];
  });
  return [...duplicates(initial, 'name', path), ...shared];
}

/** Sources whose one required field is most often forgotten. */
const SOURCE_FIELDS: Readonly<Record<string, string>> = {
  secret: 'secretName',
  configMap: 'name',
  persistentVolumeClaim: 'claimName',
  hostPath: 'path',
};

function volumeErrors(volumes: readonly Fields[], path: string): FieldError[] {
  const errors = duplicates(volumes, 'name', path);
  volumes.forEach((volume, index) => {
    const at = `${path}[${index}]`;
    const name = str(volume, 'name');
    errors.push(...(name === '' ? [required(`${at}.name`)] : ruleErrors(labelName, name, `${at}.name`)));
    const sources = Object.keys(volume).filter((key) => key !== 'name' && isRecord(volume[key]));
    for (const extra of sources
      .filter((source) => source !== 'emptyDir')
      .slice(sources.includes('emptyDir') ? 0 : 1)) {
      errors.push({
        field: `${at}.${extra}`,
        type: 'Forbidden',
        detail: 'may not specify more than 1 volume type',
      });
    }
    for (const source of sources) {
      const field = SOURCE_FIELDS[source];
      if (field !== undefined) errors.push(...requireAll(sub(volume, source), `${at}.${source}`, field));
    }
  });
  return errors;
}

function containerErrors(container: Fields, volumes: ReadonlySet<string>, path: string): FieldError[] {
  const name = str(container, 'name');
  return [
    ...(name === '' ? [required(`${path}.name`)] : ruleErrors(labelName, name, `${path}.name`)),
    ...requireAll(container, path, 'image'),
    ...portErrors(records(container, 'ports'), `${path}.ports`),
    ...envErrors(records(container, 'env'), `${path}.env`),
    ...envFromErrors(records(container, 'envFrom'), `${path}.envFrom`),
    ...mountErrors(records(container, 'volumeMounts'), volumes, `${path}.volumeMounts`),
    ...['livenessProbe', 'readinessProbe', 'startupProbe'].flatMap((probe) =>
      isRecord(container[probe]) ? probeErrors(sub(container, probe), `${path}.${probe}`) : [],
    ),
    ...resourceErrors(sub(container, 'resources'), `${path}.resources`),
  ];
}

function portErrors(ports: readonly Fields[], path: string): FieldError[] {
  return [
    ...ports.flatMap((port, index) => {
      const at = `${path}[${index}]`;
      const name = str(port, 'name');
      const number = num(port, 'containerPort') ?? 0;
      return [
        ...(name === '' ? [] : portNameErrors(name, `${at}.name`)),
        ...(number === 0 ? [required(`${at}.containerPort`)] : portError(number, `${at}.containerPort`)),
        ...(port['hostPort'] === undefined ? [] : portError(port['hostPort'], `${at}.hostPort`)),
      ];
    }),
    ...duplicates(ports, 'name', path),
  ];
}

function envErrors(env: readonly Fields[], path: string): FieldError[] {
  return env.flatMap((variable, index) => {
    const at = `${path}[${index}]`;
    const name = str(variable, 'name');
    const errors: FieldError[] = [];
    if (name === '') errors.push(required(`${at}.name`));
    else if (!/^[ -<>-~]+$/.test(name)) {
      const detail =
        "a valid environment variable name must consist only of printable ASCII characters other than '='";
      errors.push(invalidValue(`${at}.name`, name, detail));
    }
    if (isRecord(variable['valueFrom'])) errors.push(...valueFromErrors(variable, at));
    return errors;
  });
}

function valueFromErrors(variable: Fields, path: string): FieldError[] {
  const sources = Object.entries(sub(variable, 'valueFrom')).filter(([, source]) => isRecord(source));
  const at = `${path}.valueFrom`;
  if (str(variable, 'value') !== '') {
    return [invalidValue(at, '', 'may not be specified when `value` is not empty')];
  }
  if (sources.length === 0) {
    return [
      invalidValue(
        at,
        '',
        'must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`',
      ),
    ];
  }
  if (sources.length > 1)
    return [invalidValue(at, '', 'may not have more than one field specified at a time')];
  return sources.flatMap(([source, value]) =>
    source.endsWith('KeyRef') && isRecord(value) && source !== 'fileKeyRef'
      ? requireAll(value, `${at}.${source}`, 'name', 'key')
      : [],
  );
}

function envFromErrors(sources: readonly Fields[], path: string): FieldError[] {
  const none = sources.some((source) => !isRecord(source['configMapRef']) && !isRecord(source['secretRef']));
  return none ? [invalidValue(path, '', 'must specify one of: `configMapRef` or `secretRef`')] : [];
}

function mountErrors(mounts: readonly Fields[], volumes: ReadonlySet<string>, path: string): FieldError[] {
  const paths = new Set<string>();
  return mounts.flatMap((mount, index) => {
    const at = `${path}[${index}]`;
    const name = str(mount, 'name');
    const where = str(mount, 'mountPath');
    const errors: FieldError[] = [];
    if (name === '') errors.push(required(`${at}.name`));
    else if (!volumes.has(name))
      errors.push({ field: `${at}.name`, type: 'NotFound', badValue: name, detail: '' });
    if (where === '') errors.push(required(`${at}.mountPath`));
    else if (paths.has(where)) errors.push(invalidValue(`${at}.mountPath`, where, 'must be unique'));
    paths.add(where);
    return errors;
  });
}

const HANDLERS = ['exec', 'httpGet', 'tcpSocket', 'grpc'];

function probeErrors(probe: Fields, path: string): FieldError[] {
  const handlers = HANDLERS.filter((handler) => isRecord(probe[handler]));
  if (handlers.length === 0) return [required(path, 'must specify a handler type')];
  const errors = handlers.slice(1).map((handler): FieldError => {
    return {
      field: `${path}.${handler}`,
      type: 'Forbidden',
      detail: 'may not specify more than 1 handler type',
    };
  });
  const [first = ''] = handlers;
  if (first === 'httpGet' || first === 'tcpSocket') {
    errors.push(...intOrPortName(sub(probe, first)['port'], `${path}.${first}.port`));
  }
  return errors;
}

function resourceErrors(resources: Fields, path: string): FieldError[] {
  const limits = sub(resources, 'limits');
  return Object.entries(sub(resources, 'requests')).flatMap(([name, request]) => {
    const limit = limits[name];
    if (!isQuantity(request) || !isQuantity(limit) || nanoUnits(request) <= nanoUnits(limit)) return [];
    return [
      invalidValue(
        `${path}.requests`,
        String(request),
        `must be less than or equal to ${name} limit of ${limit}`,
      ),
    ];
  });
}

function tolerationErrors(tolerations: readonly Fields[], path: string): FieldError[] {
  return tolerations.flatMap((toleration, index) => {
    const operator = str(toleration, 'operator');
    if (str(toleration, 'key') !== '' || operator === 'Exists') return [];
    const detail = 'operator must be Exists when `key` is empty, which means "match all values and all keys"';
    return [invalidValue(`${path}[${index}].operator`, operator, detail)];
  });
}
