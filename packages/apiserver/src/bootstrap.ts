import { randomUUID } from 'node:crypto';
import { type Clock, jsonEqual, rfc3339 } from '@mural/core';
import { DEFAULT_ROLES } from './auth/default-roles.ts';
import type { Stored } from './objects.ts';
import type { Store, Transaction } from './storage/store.ts';

const RBAC = 'rbac.authorization.k8s.io';
const NAMESPACES = ['default', 'kube-system', 'kube-public', 'kube-node-lease'];

/** Puts in place what a cluster has from its first minute: namespaces, roles and their bindings. */
export async function bootstrap(store: Store, clock: Clock): Promise<void> {
  const creationTimestamp = rfc3339(clock.now());
  await store.write((transaction) => {
    for (const name of NAMESPACES) {
      if (transaction.get('namespaces', '', name) !== undefined) continue;
      const labels = { 'kubernetes.io/metadata.name': name };
      transaction.put('namespaces', {
        apiVersion: 'v1',
        kind: 'Namespace',
        metadata: { name, uid: randomUUID(), creationTimestamp, labels },
        spec: { finalizers: ['kubernetes'] },
        status: { phase: 'Active' },
      });
    }
    for (const role of DEFAULT_ROLES) putRole(transaction, role, creationTimestamp);
  });
}

function putRole(
  transaction: Transaction,
  role: (typeof DEFAULT_ROLES)[number],
  creationTimestamp: string,
): void {
  ensure(transaction, 'clusterroles', creationTimestamp, role.name, {
    kind: 'ClusterRole',
    rules: role.rules,
  });
  if (role.groups === undefined) return;
  ensure(transaction, 'clusterrolebindings', creationTimestamp, role.name, {
    kind: 'ClusterRoleBinding',
    roleRef: { apiGroup: RBAC, kind: 'ClusterRole', name: role.name },
    subjects: role.groups.map((name) => ({ apiGroup: RBAC, kind: 'Group', name })),
  });
}

/** Creates a default object, or brings it up to date unless its owner switched that off. */
function ensure(
  transaction: Transaction,
  plural: string,
  creationTimestamp: string,
  name: string,
  fields: { readonly kind: string; readonly [field: string]: unknown },
): void {
  const storage = `${RBAC}/${plural}`;
  const live = transaction.get(storage, '', name);
  if (live?.metadata.annotations?.['rbac.authorization.kubernetes.io/autoupdate'] === 'false') return;
  const metadata = live?.metadata ?? {
    name,
    uid: randomUUID(),
    creationTimestamp,
    labels: { 'kubernetes.io/bootstrapping': 'rbac-defaults' },
    annotations: { 'rbac.authorization.kubernetes.io/autoupdate': 'true' },
  };
  const wanted: Stored = { apiVersion: `${RBAC}/v1`, metadata, ...fields };
  if (!jsonEqual(live, wanted)) transaction.put(storage, wanted);
}
