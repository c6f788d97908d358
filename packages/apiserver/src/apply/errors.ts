import { MuralError } from '@mural/core';
import type { Manager } from './managed-fields.ts';

/** One field that an applier wants and somebody else owns. */
export interface ApplyConflict {
  readonly manager: string;
  readonly operation: 'Apply' | 'Update';
  readonly apiVersion: string;
  readonly subresource?: string;
  readonly time?: string;
  /** The path as the API words it: `.spec.containers[name="web"].image`. */
  readonly field: string;
}

/** Fields of a server-side apply are owned by others and `force` was not asked for: a 409. */
export class ApplyConflictError extends MuralError<'Conflict'> {
  readonly conflicts: readonly ApplyConflict[];

  constructor(conflicts: readonly ApplyConflict[]) {
    super('Conflict', conflictMessage(conflicts), {
      facts: { conflicts },
      hint: 'Apply with force to take the fields over, or leave them out of what you apply.',
    });
    this.conflicts = conflicts;
  }
}

/** `conflict with "kubectl-create" using v1`: the message of one cause of the `Status`. */
export function conflictCause(conflict: ApplyConflict): string {
  return `conflict with ${nameManager(conflict)}`;
}

function nameManager(
  conflict: Pick<Manager, 'manager' | 'operation' | 'apiVersion'> & { subresource?: string },
): string {
  const subresource = conflict.subresource === undefined ? '' : ` with subresource "${conflict.subresource}"`;
  const version = conflict.operation === 'Update' ? ` using ${conflict.apiVersion}` : '';
  return `${JSON.stringify(conflict.manager)}${subresource}${version}`;
}

function conflictMessage(conflicts: readonly ApplyConflict[]): string {
  const [first] = conflicts;
  if (conflicts.length === 1 && first !== undefined) {
    return `Apply failed with 1 conflict: conflict with ${nameManager(first)}: ${first.field}`;
  }
  const byManager = new Map<string, string[]>();
  for (const conflict of conflicts) {
    const name = nameManager(conflict);
    const fields = byManager.get(name);
    if (fields === undefined) byManager.set(name, [conflict.field]);
    else fields.push(conflict.field);
  }
  const lines = [...byManager].flatMap(([name, fields]) => [
    `conflicts with ${name}:`,
    ...fields.map((field) => `- ${field}`),
  ]);
  return `Apply failed with ${conflicts.length} conflicts: ${lines.join('\n')}`;
}

/** Why an applied object cannot be taken at all. */
export type ApplyInvalidCode = 'BadRequest' | 'InvalidObject';

/** The applied object does not fit its schema or says what it may not: 400 or 500, see `httpStatus`. */
export class ApplyInvalidError extends MuralError<ApplyInvalidCode> {
  /** What the API answers: 400 for a wrong request, 500 where the object cannot be typed. */
  readonly httpStatus: 400 | 500;

  constructor(code: ApplyInvalidCode, message: string) {
    super(code, message);
    this.httpStatus = code === 'BadRequest' ? 400 : 500;
  }
}
