import { isRecord, jsonEqual } from '@mural/core';
import type { Api } from '../api.ts';
import type { Stored } from '../objects.ts';
import { dig, digList } from '../objects.ts';
import type { Transaction } from '../storage/store.ts';
import { Worker } from './worker.ts';

const CLUSTER_ROLES = 'rbac.authorization.k8s.io/clusterroles';

/** Fills ClusterRoles that have an `aggregationRule` with the rules of those that their selectors match. */
export function startRoleAggregation(api: Api): { stop(): Promise<void> } {
  const work = async (): Promise<void> => {
    await api.store.write(aggregateAll);
  };
  const worker = new Worker({ ...api, name: 'aggregated-roles', work });
  worker.add('all');
  const unsubscribe = api.store.onChange((changes) => {
    if (changes.some((change) => change.resource === CLUSTER_ROLES)) worker.add('all');
  });
  return {
    stop: async () => {
      unsubscribe();
      await worker.stop();
    },
  };
}

function aggregateAll(transaction: Transaction): void {
  for (const { metadata } of transaction.list(CLUSTER_ROLES)) {
    // Looked up again, as a role may be filled from one that was filled just before.
    const role = transaction.get(CLUSTER_ROLES, '', metadata.name ?? '');
    const selectors = digList(role, 'aggregationRule', 'clusterRoleSelectors');
    if (role === undefined || selectors.length === 0) continue;
    const rules = gathered(transaction, selectors, metadata.name ?? '');
    if (!jsonEqual(rules, digList(role, 'rules'))) transaction.put(CLUSTER_ROLES, { ...role, rules });
  }
}

function gathered(transaction: Transaction, selectors: readonly unknown[], own: string): unknown[] {
  const sources = transaction
    .list(CLUSTER_ROLES)
    .filter((role) => role.metadata.name !== own && selectors.some((selector) => matches(selector, role)));
  const rules = new Map<string, unknown>();
  for (const rule of sources.flatMap((role) => digList(role, 'rules'))) rules.set(JSON.stringify(rule), rule);
  return [...rules.values()];
}

function matches(selector: unknown, role: Stored): boolean {
  const wanted = dig(selector, 'matchLabels');
  if (!isRecord(wanted) || digList(selector, 'matchExpressions').length > 0) return false;
  return Object.entries(wanted).every(([key, value]) => role.metadata.labels?.[key] === value);
}
