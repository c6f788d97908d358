import { isRecord } from '@mural/core';
import { type Fields, labelErrors, notNegative, records, str, strings, sub } from './check-tools.ts';
import { type FieldError, invalidValue, notSupported, required } from './field-error.ts';
import { podSpecErrors } from './pod-checks.ts';

/** Checks of an object of one kind. */
export type KindCheck = (object: Fields) => FieldError[];

/** Deployments, DaemonSets, StatefulSets, ReplicaSets. */
export function workloadErrors(kind: string): KindCheck {
  return (object) => {
    const spec = sub(object, 'spec');
    const template = sub(spec, 'template');
    return [
      ...notNegative(
        spec,
        'spec',
        'replicas',
        'minReadySeconds',
        'revisionHistoryLimit',
        'progressDeadlineSeconds',
      ),
      ...selectorErrors(spec, kind),
      ...templateErrors(template, 'spec.template'),
      ...restartErrors(sub(template, 'spec'), 'spec.template.spec'),
      ...strategyErrors(sub(spec, 'strategy')),
    ];
  };
}

function selectorErrors(spec: Fields, kind: string): FieldError[] {
  const { selector } = spec;
  const labels = sub(sub(spec, 'template'), 'metadata')['labels'];
  const mismatch = invalidValue(
    'spec.template.metadata.labels',
    labels ?? null,
    '`selector` does not match template `labels`',
  );
  if (!isRecord(selector)) return [required('spec.selector'), mismatch];
  const errors = labelSelectorErrors(selector, 'spec.selector');
  if (errors.length > 0)
    return [...errors, invalidValue('spec.selector', selector, 'invalid label selector')];
  if (isEmptySelector(selector)) {
    return [invalidValue('spec.selector', selector, `empty selector is invalid for ${kind.toLowerCase()}`)];
  }
  return selects(selector, isRecord(labels) ? labels : {}) ? [] : [mismatch];
}

function isEmptySelector(selector: Fields): boolean {
  return (
    Object.keys(sub(selector, 'matchLabels')).length === 0 &&
    records(selector, 'matchExpressions').length === 0
  );
}

function selects(selector: Fields, labels: Fields): boolean {
  const equal = Object.entries(sub(selector, 'matchLabels')).every(([key, value]) => labels[key] === value);
  return equal && records(selector, 'matchExpressions').every((expression) => holds(expression, labels));
}

function holds(expression: Fields, labels: Fields): boolean {
  const value = labels[str(expression, 'key')];
  const values = strings(expression, 'values');
  switch (expression['operator']) {
    case 'In':
      return typeof value === 'string' && values.includes(value);
    case 'NotIn':
      return typeof value !== 'string' || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    default:
      return value === undefined;
  }
}

/** What is wrong with a label selector (`metav1validation.ValidateLabelSelector`). */
export function labelSelectorErrors(selector: Fields, path: string): FieldError[] {
  return [
    ...labelErrors(sub(selector, 'matchLabels'), `${path}.matchLabels`),
    ...records(selector, 'matchExpressions').flatMap((expression, index) =>
      expressionErrors(expression, `${path}.matchExpressions[${index}]`),
    ),
  ];
}

function expressionErrors(expression: Fields, path: string): FieldError[] {
  const operator = str(expression, 'operator');
  const values = strings(expression, 'values');
  switch (operator) {
    case 'In':
    case 'NotIn':
      return values.length > 0
        ? []
        : [required(`${path}.values`, "must be specified when `operator` is 'In' or 'NotIn'")];
    case 'Exists':
    case 'DoesNotExist':
      return values.length === 0
        ? []
        : [
            {
              field: `${path}.values`,
              type: 'Forbidden',
              detail: "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            },
          ];
    default:
      return [invalidValue(`${path}.operator`, operator, 'not a valid selector operator')];
  }
}

function templateErrors(template: Fields, path: string): FieldError[] {
  const labels = sub(sub(template, 'metadata'), 'labels');
  return [...labelErrors(labels, `${path}.labels`), ...podSpecErrors(sub(template, 'spec'), `${path}.spec`)];
}

function restartErrors(spec: Fields, path: string): FieldError[] {
  const policy = spec['restartPolicy'];
  if (policy === undefined || policy === 'Always') return [];
  return [notSupported(`${path}.restartPolicy`, policy, ['Always'])];
}

function strategyErrors(strategy: Fields): FieldError[] {
  const rolling = sub(strategy, 'rollingUpdate');
  if (strategy['type'] === 'Recreate' && isRecord(strategy['rollingUpdate'])) {
    const detail = "may not be specified when strategy `type` is 'Recreate'";
    return [{ field: 'spec.strategy.rollingUpdate', type: 'Forbidden', detail }];
  }
  const zero = (value: unknown): boolean => value === 0 || value === '0%';
  if (!zero(rolling['maxSurge']) || !zero(rolling['maxUnavailable'])) return [];
  const field = 'spec.strategy.rollingUpdate.maxUnavailable';
  return [invalidValue(field, rolling['maxUnavailable'], 'may not be 0 when `maxSurge` is 0')];
}

export const podErrors: KindCheck = (object) => podSpecErrors(sub(object, 'spec'), 'spec');

export const jobErrors: KindCheck = (object) => jobSpecErrors(sub(object, 'spec'), 'spec');

function jobSpecErrors(spec: Fields, path: string): FieldError[] {
  const template = sub(spec, 'template');
  const policy = sub(template, 'spec')['restartPolicy'];
  const errors = [
    ...notNegative(
      spec,
      path,
      'parallelism',
      'completions',
      'backoffLimit',
      'activeDeadlineSeconds',
      'ttlSecondsAfterFinished',
    ),
    ...templateErrors(template, `${path}.template`),
  ];
  if (policy !== 'Never' && policy !== 'OnFailure') {
    errors.push(required(`${path}.template.spec.restartPolicy`, 'valid values: "OnFailure", "Never"'));
  }
  return errors;
}

export const cronJobErrors: KindCheck = (object) => {
  const spec = sub(object, 'spec');
  return [
    ...scheduleErrors(str(spec, 'schedule')),
    ...notNegative(
      spec,
      'spec',
      'successfulJobsHistoryLimit',
      'failedJobsHistoryLimit',
      'startingDeadlineSeconds',
    ),
    ...jobSpecErrors(sub(sub(spec, 'jobTemplate'), 'spec'), 'spec.jobTemplate.spec'),
  ];
};

const MACROS = new Set(['@yearly', '@annually', '@monthly', '@weekly', '@daily', '@midnight', '@hourly']);

function scheduleErrors(schedule: string): FieldError[] {
  const field = 'spec.schedule';
  if (schedule === '') return [required(field)];
  if (schedule.startsWith('@')) {
    const known = MACROS.has(schedule) || /^@every (?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+$/.test(schedule);
    return known ? [] : [invalidValue(field, schedule, `unrecognized descriptor: ${schedule}`)];
  }
  const fields = schedule.trim().split(/\s+/);
  if (fields.length !== 5) {
    return [
      invalidValue(
        field,
        schedule,
        `expected exactly 5 fields, found ${fields.length}: [${fields.join(' ')}]`,
      ),
    ];
  }
  const wrong = fields.find(
    (part) =>
      !/^(?:[*?]|[\dA-Za-z]+(?:-[\dA-Za-z]+)?)(?:\/\d+)?(?:,(?:[\dA-Za-z]+(?:-[\dA-Za-z]+)?)(?:\/\d+)?)*$/.test(
        part,
      ),
  );
  return wrong === undefined ? [] : [invalidValue(field, schedule, `failed to parse int from ${wrong}`)];
}
