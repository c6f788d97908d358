import { isRecord } from '@mural/core';
import type { KubeObject, ManagedFieldsEntry } from '@mural/kube';

/** The field manager of applied objects, as Flux's kustomize-controller names itself. */
export const FIELD_MANAGER = 'kustomize-controller';

/**
 * The entries an object must have so that what kubectl wrote belongs to us, and goes when it is not
 * desired: entries of kubectl, of `before-first-apply` and of our own updates are folded into our
 * apply entry, as Flux does (`ssa.PatchReplaceFieldsManagers`).
 *
 * @returns the new list, or `undefined` when there is nothing to fold
 */
export function foldedManagers(object: KubeObject): ManagedFieldsEntry[] | undefined {
  const entries = object.metadata.managedFields ?? [];
  const folded = entries.filter(isFolded);
  const [first] = folded;
  if (first === undefined) return undefined;
  const own = entries.find((entry) => entry.manager === FIELD_MANAGER && entry.operation === 'Apply');
  const { subresource: _none, ...base } = own ?? first;
  const merged: ManagedFieldsEntry = {
    ...base,
    manager: FIELD_MANAGER,
    operation: 'Apply',
    fieldsV1: [...(own === undefined ? [] : [own]), ...folded]
      .map(({ fieldsV1 }) => fieldsV1)
      .reduce((all, fields) => union(all, fields), {}),
  };
  return [merged, ...entries.filter((entry) => entry !== own && !isFolded(entry))];
}

function isFolded({ manager, operation, subresource }: ManagedFieldsEntry): boolean {
  if (subresource !== undefined && subresource !== '') return false;
  if (manager.startsWith('kubectl')) return true;
  return operation === 'Update' && (manager === FIELD_MANAGER || manager === 'before-first-apply');
}

function union(
  a: Readonly<Record<string, unknown>>,
  b: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const result: Record<string, unknown> = { ...a };
  for (const [key, value] of Object.entries(b)) {
    const before = result[key];
    result[key] = isRecord(before) && isRecord(value) ? union(before, value) : value;
  }
  return result;
}

/** Whether anybody but our own applies has written the object. */
export function hasForeignManagers(object: KubeObject): boolean {
  return (object.metadata.managedFields ?? []).some(
    ({ manager, operation }) => manager !== FIELD_MANAGER || operation !== 'Apply',
  );
}
