import { randomUUID } from 'node:crypto';
import { type Clock, jsonEqual, rfc3339 } from '@mural/core';
import type { ObjectMeta } from '@mural/kube';
import { DEFAULT_ROLES } from './auth/default-roles.ts';
import type { Stored } from './objects.ts';
import { digList } from './objects.ts';
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
  const put = (plural: string, fields: Fields): void => {
    const labels = { 'kubernetes.io/bootstrapping': 'rbac-defaults', ...role.labels };
    ensure(transaction, plural, { name: role.name, creationTimestamp, labels }, fields);
  };
  if (role.aggregates === undefined) {
    put('clusterroles', { kind: 'ClusterRole', rules: role.rules });
  } else {
    // Its rules are gathered elsewhere; what was gathered before stays until then.
    const rules = digList(transaction.get(`${RBAC}/clusterroles`, '', role.name), 'rules');
    const clusterRoleSelectors = [{ matchLabels: { [role.aggregates]: 'true' } }];
    put('clusterroles', { kind: 'ClusterRole', rules, aggregationRule: { clusterRoleSelectors } });
  }
  if (role.groups === undefined) return;
  put('clusterrolebindings', {
    kind: 'ClusterRoleBinding',
    roleRef: { apiGroup: RBAC, kind: 'ClusterRole', name: role.name },
    subjects: role.groups.map((name) => ({ apiGroup: RBAC, kind: 'Group', name })),
  });
}

interface Fields {
  readonly kind: string;
  readonly [field: string]: unknown;
}

const AUTOUPDATE = 'rbac.authorization.kubernetes.io/autoupdate';

/** Creates a default object, or brings it up to date unless its owner switched that off. */
function ensure(transaction: Transaction, plural: string, fresh: ObjectMeta, fields: Fields): void {
  const storage = `${RBAC}/${plural}`;
  const live = transaction.get(storage, '', fresh.name ?? '');
  if (live?.metadata.annotations?.[AUTOUPDATE] === 'false') return;
  const metadata =
    live === undefined
      ? { ...fresh, uid: randomUUID(), annotations: { [AUTOUPDATE]: 'true' } }
      : { ...live.metadata, labels: { ...live.metadata.labels, ...fresh.labels } };
  const wanted: Stored = { apiVersion: `${RBAC}/v1`, metadata, ...fields };
  if (!jsonEqual(live, wanted)) transaction.put(storage, wanted);
}
