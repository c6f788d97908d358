import { randomUUID } from 'node:crypto';
import { rfc3339 } from '@mural/core';
import type { Api } from '../api.ts';
import type { Stored } from '../objects.ts';
import { dig, digString, setIn } from '../objects.ts';
import type { Transaction } from '../storage/store.ts';
import { Worker } from './worker.ts';

const TOKEN_TYPE = 'kubernetes.io/service-account-token';
const NAME_ANNOTATION = 'kubernetes.io/service-account.name';
const UID_ANNOTATION = 'kubernetes.io/service-account.uid';

/**
 * Gives every namespace its account `default` and the ConfigMap `kube-root-ca.crt`, fills Secrets of
 * type `kubernetes.io/service-account-token`, and removes them with their account.
 */
export function startServiceAccountController(api: Api): { stop(): Promise<void> } {
  const worker = new Worker({ ...api, name: 'service-accounts', work: (key) => settle(api, key) });
  const consider = (resource: string, namespace: string, name: string): void => {
    if (resource === 'namespaces') worker.add(`namespace/${name}`);
    if (resource === 'secrets') worker.add(`secret/${namespace}/${name}`);
    if (resource === 'serviceaccounts') worker.add(`account/${namespace}/${name}`);
    if (resource === 'serviceaccounts' || resource === 'configmaps') worker.add(`namespace/${namespace}`);
  };
  for (const resource of ['namespaces', 'secrets', 'serviceaccounts']) {
    for (const { metadata } of api.store.list(resource)) {
      consider(resource, metadata.namespace ?? '', metadata.name ?? '');
    }
  }
  const unsubscribe = api.store.onChange((changes) => {
    for (const change of changes) {
      const relevant =
        change.removed || change.resource !== 'configmaps' || change.name === 'kube-root-ca.crt';
      if (relevant) consider(change.resource, change.namespace, change.name);
    }
  });
  return {
    stop: async () => {
      unsubscribe();
      await worker.stop();
    },
  };
}

async function settle(api: Api, key: string): Promise<void> {
  const [what, first = '', second = ''] = key.split('/');
  if (what === 'namespace') await furnish(api, first);
  if (what === 'secret') await fill(api, first, second);
  if (what === 'account') {
    for (const secret of api.store.list('secrets', first)) {
      if (dig(secret, 'metadata', 'annotations', NAME_ANNOTATION) === second) {
        await fill(api, first, secret.metadata.name ?? '');
      }
    }
  }
}

/** What every namespace has. */
async function furnish(api: Api, name: string): Promise<void> {
  const namespace = api.store.get('namespaces', '', name);
  if (namespace === undefined || namespace.metadata.deletionTimestamp !== undefined) return;
  const account = api.store.get('serviceaccounts', name, 'default');
  const map = api.store.get('configmaps', name, 'kube-root-ca.crt');
  const trusted = digString(map, 'data', 'ca.crt') === api.ca;
  if (account !== undefined && trusted) return;
  await api.store.write((transaction) => {
    if (transaction.get('namespaces', '', name)?.metadata.deletionTimestamp !== undefined) return;
    if (transaction.get('serviceaccounts', name, 'default') === undefined) {
      transaction.put('serviceaccounts', fresh(api, 'ServiceAccount', name, 'default', {}));
    }
    furnishCa(api, transaction, name);
  });
}

function furnishCa(api: Api, transaction: Transaction, namespace: string): void {
  const data = { 'ca.crt': api.ca };
  const map = transaction.get('configmaps', namespace, 'kube-root-ca.crt');
  if (map === undefined) {
    transaction.put('configmaps', fresh(api, 'ConfigMap', namespace, 'kube-root-ca.crt', { data }));
  } else if (digString(map, 'data', 'ca.crt') !== api.ca) {
    transaction.put('configmaps', { ...map, data });
  }
}

function fresh(api: Api, kind: string, namespace: string, name: string, fields: object): Stored {
  const creationTimestamp = rfc3339(api.clock.now());
  return {
    apiVersion: 'v1',
    kind,
    metadata: { name, namespace, uid: randomUUID(), creationTimestamp },
    ...fields,
  };
}

/** Fills a token Secret, or removes it when its account is gone. */
async function fill(api: Api, namespace: string, name: string): Promise<void> {
  const secret = api.store.get('secrets', namespace, name);
  if (secret === undefined || digString(secret, 'type') !== TOKEN_TYPE) return;
  if (secret.metadata.deletionTimestamp !== undefined) return;
  const account = api.store.get(
    'serviceaccounts',
    namespace,
    secret.metadata.annotations?.[NAME_ANNOTATION] ?? '',
  );
  const uid = secret.metadata.annotations?.[UID_ANNOTATION];
  const standing = account !== undefined && (uid === undefined || uid === account.metadata.uid);
  if (!standing) {
    // A Secret that was written before its account waits for it; one whose account went goes too.
    if (uid !== undefined) await removeSecret(api, secret);
    return;
  }
  const data = {
    'ca.crt': Buffer.from(api.ca).toString('base64'),
    namespace: Buffer.from(namespace).toString('base64'),
  };
  const hasToken = digString(secret, 'data', 'token') !== '';
  if (hasToken && uid !== undefined && digString(secret, 'data', 'ca.crt') === data['ca.crt']) return;
  const token = hasToken
    ? digString(secret, 'data', 'token')
    : Buffer.from(await api.tokens.issueForSecret(account, name)).toString('base64');
  await api.store.write((transaction) => {
    const live = transaction.get('secrets', namespace, name);
    if (live === undefined || live.metadata.uid !== secret.metadata.uid) return;
    const annotations = { ...live.metadata.annotations, [UID_ANNOTATION]: account.metadata.uid ?? '' };
    const filled = setIn(live, ['data'], {
      ...(live['data'] as object | undefined),
      ...data,
      token,
    }) as Stored;
    transaction.put('secrets', { ...filled, metadata: { ...filled.metadata, annotations } });
  });
}

async function removeSecret(api: Api, secret: Stored): Promise<void> {
  await api.store.write((transaction) => {
    const { namespace = '', name = '', uid } = secret.metadata;
    const live = transaction.get('secrets', namespace, name);
    if (live?.metadata.uid === uid && live !== undefined) transaction.remove('secrets', live);
  });
}
