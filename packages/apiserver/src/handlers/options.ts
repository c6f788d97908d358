import type { Api } from '../api.ts';
import type { ResourceRequest } from '../http/request.ts';
import type { FieldError } from '../schema/index.ts';
import { invalid } from '../status.ts';

/** How unknown fields of a body are treated (`fieldValidation`). */
export type FieldValidation = 'Ignore' | 'Warn' | 'Strict';

/** A write, with its options read. */
export interface Write {
  readonly api: Api;
  readonly request: ResourceRequest;
  readonly manager: string;
  readonly dryRun: boolean;
  readonly validation: FieldValidation;
  /** Milliseconds since the epoch: the one time that this write leaves anywhere. */
  readonly now: number;
}

const MANAGER_LIMIT = 128;

/** @throws ApiError `Invalid` for options that do not exist */
export function writeOf(api: Api, request: ResourceRequest): Write {
  const { query } = request;
  const dryRuns = query.getAll('dryRun').filter((value) => value !== '');
  for (const value of dryRuns) {
    if (value !== 'All') throw optionError('dryRun', 'NotSupported', 'supported values: "All"', value);
  }
  const validation = query.get('fieldValidation') ?? '';
  if (!['', 'Ignore', 'Warn', 'Strict'].includes(validation)) {
    const detail = 'supported values: "", "Ignore", "Strict", "Warn"';
    throw optionError('fieldValidation', 'NotSupported', detail, validation);
  }
  const manager = query.get('fieldManager') ?? '';
  if (manager.length > MANAGER_LIMIT) {
    throw optionError('fieldManager', 'TooLong', `may not be more than ${MANAGER_LIMIT} bytes`, manager);
  }
  return {
    api,
    request,
    manager: manager === '' ? managerOf(request.message.headers['user-agent']) : manager,
    dryRun: dryRuns.length > 0,
    validation: validation === '' ? 'Warn' : (validation as FieldValidation),
    now: api.clock.now(),
  };
}

/** The field manager of who names none: the program of its user agent, as Kubernetes does. */
function managerOf(userAgent: string | undefined): string {
  const program = (userAgent ?? '').split('/')[0] ?? '';
  return program === '' ? 'unknown' : program.slice(0, MANAGER_LIMIT);
}

function optionError(field: string, type: FieldError['type'], detail: string, badValue: string): Error {
  return invalid({ group: 'meta.k8s.io', kind: 'CreateOptions' }, '', [{ field, type, detail, badValue }]);
}
