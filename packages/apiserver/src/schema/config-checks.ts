import { type Fields, num, records, str, strings, sub } from './check-tools.ts';
import { type FieldError, invalidValue, notSupported, required } from './field-error.ts';
import { isQuantity, nanoUnits } from './quantity.ts';

const CONFIG_KEY_WORDS =
  "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

/** What is wrong with the key of a ConfigMap or Secret, which may become the name of a file. */
function configKeyProblem(key: string): string | undefined {
  if (key.length > 253) return 'must be no more than 253 characters';
  if (key === '.' || key === '..') return `must not be '${key}'`;
  if (key.startsWith('..')) return "must not start with '..'";
  return /^[-._a-zA-Z0-9]+$/.test(key) ? undefined : CONFIG_KEY_WORDS;
}

function keyErrors(object: Fields, field: string): FieldError[] {
  return Object.keys(sub(object, field)).flatMap((key) => {
    const problem = configKeyProblem(key);
    return problem === undefined ? [] : [invalidValue(`${field}[${key}]`, key, problem)];
  });
}

export function configMapErrors(object: Fields): FieldError[] {
  const binary = sub(object, 'binaryData');
  const shared = Object.keys(sub(object, 'data'))
    .filter((key) => Object.hasOwn(binary, key))
    .map((key) => invalidValue(`data[${key}]`, key, 'duplicate of key present in binaryData'));
  return [...keyErrors(object, 'data'), ...keyErrors(object, 'binaryData'), ...shared];
}

/** Keys that a type of Secret has to have. */
const SECRET_KEYS: Readonly<Record<string, readonly string[]>> = {
  'kubernetes.io/dockerconfigjson': ['.dockerconfigjson'],
  'kubernetes.io/dockercfg': ['.dockercfg'],
  'kubernetes.io/tls': ['tls.crt', 'tls.key'],
  'kubernetes.io/ssh-auth': ['ssh-privatekey'],
};

export function secretErrors(object: Fields): FieldError[] {
  const type = str(object, 'type');
  const data = sub(object, 'data');
  const missing = (SECRET_KEYS[type] ?? []).filter((key) => data[key] === undefined);
  const errors = [...keyErrors(object, 'data'), ...missing.map((key) => required(`data[${key}]`))];
  if (
    type === 'kubernetes.io/basic-auth' &&
    data['username'] === undefined &&
    data['password'] === undefined
  ) {
    errors.push(required('data[username]'), required('data[password]'));
  }
  const account = 'kubernetes.io/service-account.name';
  if (
    type === 'kubernetes.io/service-account-token' &&
    str(sub(sub(object, 'metadata'), 'annotations'), account) === ''
  ) {
    errors.push(required(`metadata.annotations[${account}]`));
  }
  return [...errors, ...dockerConfigErrors(type, data)];
}

/** A pull secret has to be JSON; what it says is never told. */
function dockerConfigErrors(type: string, data: Fields): FieldError[] {
  return ['.dockerconfigjson', '.dockercfg'].flatMap((key) => {
    const value = data[key];
    if (typeof value !== 'string' || !(SECRET_KEYS[type] ?? []).includes(key)) return [];
    try {
      JSON.parse(Buffer.from(value, 'base64').toString('utf8'));
      return [];
    } catch {
      return [invalidValue(`data[${key}]`, '<secret contents redacted>', 'is not JSON')];
    }
  });
}

export function roleErrors(namespaced: boolean): (object: Fields) => FieldError[] {
  return (object) =>
    records(object, 'rules').flatMap((rule, index) => policyRuleErrors(rule, `rules[${index}]`, namespaced));
}

function policyRuleErrors(rule: Fields, path: string, namespaced: boolean): FieldError[] {
  const errors: FieldError[] = [];
  const none = (key: string): boolean => strings(rule, key).length === 0;
  if (none('verbs')) errors.push(required(`${path}.verbs`, 'verbs must contain at least one value'));
  const urls = strings(rule, 'nonResourceURLs');
  if (urls.length > 0) {
    const field = `${path}.nonResourceURLs`;
    if (namespaced)
      errors.push(invalidValue(field, urls, 'namespaced rules cannot apply to non-resource URLs'));
    else if (!none('apiGroups') || !none('resources') || !none('resourceNames')) {
      errors.push(
        invalidValue(field, urls, 'rules cannot apply to both regular resources and non-resource URLs'),
      );
    }
    return errors;
  }
  if (none('apiGroups')) {
    errors.push(required(`${path}.apiGroups`, 'resource rules must supply at least one api group'));
  }
  if (none('resources'))
    errors.push(required(`${path}.resources`, 'resource rules must supply at least one resource'));
  return errors;
}

export function bindingErrors(roles: readonly string[]): (object: Fields) => FieldError[] {
  return (object) => {
    const role = sub(object, 'roleRef');
    const errors: FieldError[] = [];
    if (!roles.includes(str(role, 'kind')))
      errors.push(notSupported('roleRef.kind', str(role, 'kind'), roles));
    if (str(role, 'name') === '') errors.push(required('roleRef.name'));
    return [
      ...errors,
      ...records(object, 'subjects').flatMap((subject, index) =>
        subjectErrors(subject, `subjects[${index}]`, roles.includes('Role')),
      ),
    ];
  };
}

const SUBJECTS = ['ServiceAccount', 'User', 'Group'];

function subjectErrors(subject: Fields, path: string, namespaced: boolean): FieldError[] {
  const kind = str(subject, 'kind');
  const errors: FieldError[] = [];
  if (str(subject, 'name') === '') errors.push(required(`${path}.name`));
  if (!SUBJECTS.includes(kind)) errors.push(notSupported(`${path}.kind`, kind, SUBJECTS));
  if (kind === 'ServiceAccount' && !namespaced && str(subject, 'namespace') === '') {
    errors.push(required(`${path}.namespace`));
  }
  return errors;
}

export function claimErrors(object: Fields): FieldError[] {
  const spec = sub(object, 'spec');
  const errors: FieldError[] = [];
  const modes = strings(spec, 'accessModes');
  if (modes.length === 0) errors.push(required('spec.accessModes', 'at least 1 access mode is required'));
  const storage = sub(sub(spec, 'resources'), 'requests')['storage'];
  if (storage === undefined) errors.push(required('spec.resources[storage]'));
  else if (isQuantity(storage) && nanoUnits(storage) <= 0n) {
    errors.push(invalidValue('spec.resources[storage]', String(storage), 'must be greater than zero'));
  }
  return errors;
}

export function autoscalerErrors(object: Fields): FieldError[] {
  const spec = sub(object, 'spec');
  const target = sub(spec, 'scaleTargetRef');
  const max = num(spec, 'maxReplicas') ?? 0;
  const errors: FieldError[] = [];
  if (max < 1) errors.push(required('spec.maxReplicas', 'must be set and greater than 0'));
  if (max < (num(spec, 'minReplicas') ?? 1)) {
    errors.push(invalidValue('spec.maxReplicas', max, 'must be greater than or equal to `minReplicas`'));
  }
  for (const key of ['kind', 'name']) {
    if (str(target, key) === '') errors.push(required(`spec.scaleTargetRef.${key}`));
  }
  return errors;
}

export function budgetErrors(object: Fields): FieldError[] {
  const spec = sub(object, 'spec');
  const both = spec['minAvailable'] !== undefined && spec['maxUnavailable'] !== undefined;
  return both ? [invalidValue('spec', spec, 'minAvailable and maxUnavailable cannot be both set')] : [];
}

export function leaseErrors(object: Fields): FieldError[] {
  const spec = sub(object, 'spec');
  const errors: FieldError[] = [];
  const duration = num(spec, 'leaseDurationSeconds');
  if (duration !== undefined && duration <= 0) {
    errors.push(invalidValue('spec.leaseDurationSeconds', duration, 'must be greater than 0'));
  }
  return errors;
}

export function storageClassErrors(object: Fields): FieldError[] {
  return str(object, 'provisioner') === '' ? [required('provisioner')] : [];
}

/** Priorities above this belong to the system. */
const MAX_PRIORITY = 1_000_000_000;

export function priorityClassErrors(object: Fields): FieldError[] {
  const name = str(sub(object, 'metadata'), 'name');
  if ((num(object, 'value') ?? 0) <= MAX_PRIORITY || name.startsWith('system-')) return [];
  const detail = `maximum allowed value of a user defined priority is ${MAX_PRIORITY}`;
  return [{ field: 'value', type: 'Forbidden', detail }];
}
