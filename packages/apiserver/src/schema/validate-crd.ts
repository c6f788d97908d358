import { isRecord, jsonEqual } from '@mural/core';
import { serviceName, subdomainName } from '../resources/names.ts';
import { type Fields, records, ruleErrors, str, sub } from './check-tools.ts';
import { type FieldError, invalidValue, notSupported, required } from './field-error.ts';
import { structuralErrors } from './validate-structural.ts';

const APPROVED = 'api-approved.kubernetes.io';

/**
 * What is wrong with a CustomResourceDefinition (its defaults filled in): names, versions, and that
 * each schema is structural, with rules that compile.
 */
export function validateCrd(crd: unknown): FieldError[] {
  if (!isRecord(crd)) return [];
  const spec = sub(crd, 'spec');
  const versions = records(spec, 'versions');
  return [
    ...identityErrors(crd, spec),
    ...versionListErrors(spec, versions),
    ...versions.flatMap((version, index) => versionErrors(version, index, versions)),
    ...conversionErrors(sub(spec, 'conversion')),
    ...nameErrors(sub(spec, 'names')),
  ];
}

function identityErrors(crd: Fields, spec: Fields): FieldError[] {
  const metadata = sub(crd, 'metadata');
  const group = str(spec, 'group');
  const name = str(metadata, 'name');
  const errors: FieldError[] = [];
  if (name !== `${str(sub(spec, 'names'), 'plural')}.${group}`) {
    errors.push(invalidValue('metadata.name', name, 'must be spec.names.plural+"."+spec.group'));
  }
  if (group === '') errors.push(required('spec.group'));
  else {
    errors.push(...ruleErrors(subdomainName, group, 'spec.group'));
    if (!group.includes('.')) {
      errors.push(invalidValue('spec.group', group, 'should be a domain with at least one dot'));
    }
  }
  if (/(?:^|\.)(?:k8s|kubernetes)\.io$/.test(group) && str(sub(metadata, 'annotations'), APPROVED) === '') {
    const detail = `protected groups must have approval annotation "${APPROVED}", see https://github.com/kubernetes/enhancements/pull/1111`;
    errors.push(required(`metadata.annotations[${APPROVED}]`, detail));
  }
  const scope = str(spec, 'scope');
  if (scope === '') errors.push(required('spec.scope'));
  else if (scope !== 'Cluster' && scope !== 'Namespaced') {
    errors.push(notSupported('spec.scope', scope, ['Cluster', 'Namespaced']));
  }
  return errors;
}

function versionListErrors(spec: Fields, versions: readonly Fields[]): FieldError[] {
  const errors: FieldError[] = [];
  if (spec['preserveUnknownFields'] === true) {
    const detail =
      'cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead';
    errors.push(invalidValue('spec.preserveUnknownFields', true, detail));
  }
  const shown = versions.map(({ name, served, storage }) => ({ name, served, storage }));
  if (versions.filter((version) => version['storage'] === true).length !== 1) {
    errors.push(
      invalidValue('spec.versions', shown, 'must have exactly one version marked as storage version'),
    );
  }
  if (new Set(versions.map((version) => version['name'])).size !== versions.length) {
    errors.push(invalidValue('spec.versions', shown, 'must contain unique version names'));
  }
  return errors;
}

function versionErrors(version: Fields, index: number, versions: readonly Fields[]): FieldError[] {
  const at = `spec.versions[${index}]`;
  const errors = ruleErrors(serviceName, str(version, 'name'), `${at}.name`);
  if (version['deprecated'] !== true && version['deprecationWarning'] !== undefined) {
    const detail = 'can only be set for deprecated versions';
    errors.push(invalidValue(`${at}.deprecationWarning`, version['deprecationWarning'], detail));
  }
  const schema = sub(version, 'schema')['openAPIV3Schema'];
  if (!isRecord(schema)) errors.push(required(`${at}.schema.openAPIV3Schema`));
  // The API keeps what all versions share in one place, and reports it there, once.
  const shared = (key: string): boolean => versions.every((other) => jsonEqual(other[key], version[key]));
  const place = (key: string, top: string): string | undefined =>
    shared(key) ? (index === 0 ? `spec.${top}` : undefined) : `${at}.${key}`;
  const schemaPath = place('schema', 'validation');
  if (isRecord(schema) && schemaPath !== undefined) {
    errors.push(...structuralErrors(schema, `${schemaPath}.openAPIV3Schema`));
  }
  const subresources = place('subresources', 'subresources');
  if (subresources !== undefined) errors.push(...scaleErrors(sub(version, 'subresources'), subresources));
  const columns = place('additionalPrinterColumns', 'additionalPrinterColumns');
  if (columns !== undefined) errors.push(...columnErrors(version, columns));
  return errors;
}

function scaleErrors(subresources: Fields, path: string): FieldError[] {
  const { scale } = subresources;
  if (!isRecord(scale)) return [];
  const rules = [
    ['specReplicasPath', '.spec', true],
    ['statusReplicasPath', '.status', true],
    ['labelSelectorPath', '.s', false],
  ] as const;
  return rules.flatMap(([key, root, needed]) => {
    const value = str(scale, key);
    const field = `${path}.scale.${key}`;
    if (value === '') return needed ? [required(field)] : [];
    if (value.startsWith(`${root}.`) || (root === '.s' && /^\.(?:spec|status)\./.test(value))) return [];
    return [
      invalidValue(
        field,
        value,
        `should be a json path under ${root === '.s' ? 'either .spec or .status' : root}`,
      ),
    ];
  });
}

const COLUMN_TYPES = ['boolean', 'date', 'integer', 'number', 'string'];

function columnErrors(version: Fields, path: string): FieldError[] {
  return records(version, 'additionalPrinterColumns').flatMap((column, index) => {
    const at = `${path}[${index}]`;
    const type = str(column, 'type');
    const jsonPath = str(column, 'jsonPath');
    const errors: FieldError[] = [];
    if (str(column, 'name') === '') errors.push(required(`${at}.name`));
    if (type === '') errors.push(required(`${at}.type`));
    else if (!COLUMN_TYPES.includes(type)) {
      errors.push(invalidValue(`${at}.type`, type, `must be one of ${COLUMN_TYPES.join(',')}`));
    }
    if (jsonPath === '') errors.push(required(`${at}.JSONPath`));
    else if (!jsonPath.startsWith('.') || /\s/.test(jsonPath.replace(/\[[^\]]*\]/g, ''))) {
      errors.push(invalidValue(`${at}.JSONPath`, jsonPath, 'must be a simple json path starting with .'));
    }
    return errors;
  });
}

function conversionErrors(conversion: Fields): FieldError[] {
  const strategy = str(conversion, 'strategy');
  if (strategy === '' || strategy === 'None') return [];
  if (strategy !== 'Webhook')
    return [notSupported('spec.conversion.strategy', strategy, ['None', 'Webhook'])];
  const webhook = sub(conversion, 'webhook');
  const errors: FieldError[] = [];
  if (!isRecord(webhook['clientConfig'])) {
    errors.push(required('spec.conversion.webhookClientConfig', 'required when strategy is set to Webhook'));
  }
  if (!Array.isArray(webhook['conversionReviewVersions'])) {
    errors.push(required('spec.conversion.conversionReviewVersions'));
  }
  return errors;
}

function nameErrors(names: Fields): FieldError[] {
  const errors: FieldError[] = [];
  const check = (key: string, kind: boolean): void => {
    const name = str(names, key);
    const field = `spec.names.${key}`;
    if (name === '') {
      errors.push(required(field));
      return;
    }
    const prefix = kind ? 'may have mixed case, but should otherwise match: ' : '';
    for (const problem of serviceName(kind ? name.toLowerCase() : name)) {
      errors.push(invalidValue(field, name, prefix + problem));
    }
  };
  check('plural', false);
  check('singular', false);
  check('kind', true);
  check('listKind', true);
  for (const key of ['shortNames', 'categories']) {
    const list = names[key];
    if (!Array.isArray(list)) continue;
    list.forEach((name: unknown, index) => {
      errors.push(...ruleErrors(serviceName, String(name), `spec.names.${key}[${index}]`));
    });
  }
  const { kind, listKind } = names;
  if (typeof kind === 'string' && kind !== '' && kind === listKind) {
    errors.push(invalidValue('spec.names.listKind', listKind, 'kind and listKind may not be the same'));
  }
  return errors;
}
