import { isRecord, rfc3339 } from '@mural/core';
import type { Api } from '../api.ts';
import type { Stored } from '../objects.ts';
import { compact, dig, digList, digString, digStrings, setIn, withMeta } from '../objects.ts';
import { CRD_STORAGE } from '../resources/registry.ts';
import type { Transaction } from '../storage/store.ts';

/** The finalizer that keeps a CRD until its objects are gone. */
export const CRD_FINALIZER = 'customresourcecleanup.apiextensions.k8s.io';

interface Names {
  readonly plural: string;
  readonly singular: string;
  readonly kind: string;
  readonly listKind: string;
  readonly shortNames: readonly string[];
}

/** A CRD as it is stored: names completed and judged against those of its group, versions recorded. */
export function settleCrd(crd: Stored, transaction: Transaction, api: Api): Stored {
  const completed = withDefaults(crd);
  const now = rfc3339(api.clock.now());
  const taken = conflictOf(completed, transaction, api);
  const wasEstablished = conditionStatus(completed, 'Established') === 'True';
  const conditions = [
    ...(taken === undefined
      ? [condition('NamesAccepted', 'True', 'NoConflicts', 'no conflicts found')]
      : [condition('NamesAccepted', 'False', taken.reason, taken.message)]),
    ...(taken === undefined || wasEstablished
      ? [condition('Established', 'True', 'InitialNamesAccepted', 'the initial names have been accepted')]
      : [condition('Established', 'False', 'NotAccepted', 'not all names are accepted')]),
  ].map((one) => keepTime(one, completed, now));
  const terminating = digList(completed, 'status', 'conditions').filter(
    (one) => dig(one, 'type') === 'Terminating',
  );
  return {
    ...completed,
    status: {
      conditions: [...conditions, ...terminating],
      acceptedNames:
        taken === undefined
          ? dig(completed, 'spec', 'names')
          : (dig(completed, 'status', 'acceptedNames') ?? { kind: '', plural: '' }),
      storedVersions: storedVersions(completed),
    },
  };
}

function withDefaults(crd: Stored): Stored {
  const names = dig(crd, 'spec', 'names');
  if (!isRecord(names)) return crd;
  const kind = digString(names, 'kind');
  const completed = {
    ...names,
    singular: digString(names, 'singular') || kind.toLowerCase(),
    listKind: digString(names, 'listKind') || `${kind}List`,
  };
  const spec = setIn(crd, ['spec', 'names'], completed) as Stored;
  if (dig(crd, 'spec', 'conversion') !== undefined) return spec;
  return setIn(spec, ['spec', 'conversion'], { strategy: 'None' }) as Stored;
}

function condition(type: string, status: string, reason: string, message: string): Record<string, string> {
  return { type, status, reason, message };
}

function conditionStatus(crd: Stored, type: string): string {
  const found = digList(crd, 'status', 'conditions').find((one) => dig(one, 'type') === type);
  return digString(found, 'status');
}

function keepTime(one: Record<string, string>, crd: Stored, now: string): Record<string, string> {
  const old = digList(crd, 'status', 'conditions').find((other) => dig(other, 'type') === one['type']);
  const same = old !== undefined && dig(old, 'status') === one['status'];
  return { lastTransitionTime: same ? digString(old, 'lastTransitionTime') : now, ...one };
}

/** Every version that objects may still be stored in. */
function storedVersions(crd: Stored): string[] {
  const storage = digList(crd, 'spec', 'versions').find((version) => dig(version, 'storage') === true);
  const old = digStrings(crd, 'status', 'storedVersions');
  return [...new Set([...old, digString(storage, 'name')])];
}

function namesOf(names: unknown): Names {
  return {
    plural: digString(names, 'plural'),
    singular: digString(names, 'singular'),
    kind: digString(names, 'kind'),
    listKind: digString(names, 'listKind'),
    shortNames: digStrings(names, 'shortNames'),
  };
}

/** The first of a CRD's names that another resource of its group has. */
function conflictOf(
  crd: Stored,
  transaction: Transaction,
  api: Api,
): { readonly reason: string; readonly message: string } | undefined {
  const group = digString(crd, 'spec', 'group');
  const own = namesOf(dig(crd, 'spec', 'names'));
  const others = [
    ...transaction
      .list(CRD_STORAGE)
      .filter(
        (other) => digString(other, 'spec', 'group') === group && other.metadata.name !== crd.metadata.name,
      )
      .map((other) => namesOf(dig(other, 'status', 'acceptedNames'))),
    ...api.resources.builtin().filter((resource) => resource.group === group),
  ];
  const resources = new Set(others.flatMap((other) => [other.plural, other.singular, ...other.shortNames]));
  const kinds = new Set(others.flatMap((other) => [other.kind, other.listKind]));
  const checks: readonly [string, string, ReadonlySet<string>][] = [
    ['PluralConflict', own.plural, resources],
    ['SingularConflict', own.singular, resources],
    ...own.shortNames.map((name): [string, string, ReadonlySet<string>] => [
      'ShortNamesConflict',
      name,
      resources,
    ]),
    ['KindConflict', own.kind, kinds],
    ['ListKindConflict', own.listKind, kinds],
  ];
  const found = checks.find(([, name, taken]) => taken.has(name));
  if (found === undefined) return undefined;
  return { reason: found[0], message: `${JSON.stringify(found[1])} is already in use` };
}

/** A CRD at the start of its deletion: it waits for its objects. */
export function startCrdDeletion(crd: Stored, now: number): Stored {
  const finalizers = crd.metadata.finalizers ?? [];
  const marked = withMeta(crd, {
    finalizers: finalizers.includes(CRD_FINALIZER) ? finalizers : [...finalizers, CRD_FINALIZER],
  });
  const message = 'CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon';
  const terminating = {
    lastTransitionTime: rfc3339(now),
    ...condition('Terminating', 'True', 'InstanceDeletionPending', message),
  };
  const conditions = digList(marked, 'status', 'conditions').filter(
    (one) => dig(one, 'type') !== 'Terminating',
  );
  return compact(setIn(marked, ['status', 'conditions'], [...conditions, terminating])) as Stored;
}
