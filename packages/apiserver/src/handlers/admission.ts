import { settleCrd } from '../controllers/crd-status.ts';
import { addressed } from '../controllers/service-addresses.ts';
import type { Stored } from '../objects.ts';
import { digString } from '../objects.ts';
import { CRD_STORAGE } from '../resources/registry.ts';
import type { ApiResource } from '../resources/types.ts';
import { forbidden } from '../status.ts';
import type { Transaction } from '../storage/store.ts';
import type { Write } from './options.ts';

/** A write on its way in. */
export interface Admission {
  readonly write: Write;
  readonly transaction: Transaction;
  readonly object: Stored;
  readonly before: Stored | undefined;
}

/** Rules of single resources that are about more than one object's own fields. */
export function admitWrite({ write, transaction, object, before }: Admission): void {
  const { api, request } = write;
  const { resource, user } = request;
  if (resource.group === 'rbac.authorization.k8s.io') {
    api.authorizer.checkEscalation({ user, resource, object, transaction });
  }
  if (resource.storage === 'pods' && before === undefined) checkPod(transaction, resource, object);
}

/** A pod's account and priority class are there. */
function checkPod(transaction: Transaction, resource: ApiResource, pod: Stored): void {
  const { name = '', namespace = '' } = pod.metadata;
  const account = digString(pod, 'spec', 'serviceAccountName') || 'default';
  // Every namespace gets its default account; it may not have it yet.
  if (account !== 'default' && transaction.get('serviceaccounts', namespace, account) === undefined) {
    const why = `serviceaccount "${account}" not found`;
    throw forbidden(resource, name, `error looking up service account ${namespace}/${account}: ${why}`);
  }
  const priority = digString(pod, 'spec', 'priorityClassName');
  const builtin = priority === '' || priority.startsWith('system-');
  if (!builtin && transaction.get('scheduling.k8s.io/priorityclasses', '', priority) === undefined) {
    throw forbidden(resource, name, `no PriorityClass with name ${priority} was found`);
  }
}

/** What the server itself adds to an object as it is stored. */
export function afterAdmission(
  object: Stored,
  before: Stored | undefined,
  transaction: Transaction,
  { api, request }: Pick<Write, 'api' | 'request'>,
): Stored {
  const { storage } = request.resource;
  if (storage === CRD_STORAGE) return settleCrd(object, transaction, api);
  if (storage === 'services') return addressed(object, before, transaction, api.random);
  return object;
}
