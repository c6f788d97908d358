import type { Api } from '../api.ts';
import { settleCrd } from '../controllers/crd-status.ts';
import type { Stored } from '../objects.ts';
import { CRD_STORAGE } from '../resources/registry.ts';
import type { ApiResource } from '../resources/types.ts';
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
  if (request.resource.group === 'rbac.authorization.k8s.io') {
    api.authorizer.checkEscalation({ user: request.user, resource: request.resource, object, before, transaction });
  }
}

/** What the server itself adds to an object as it is stored. */
export function afterAdmission(object: Stored, transaction: Transaction, resource: ApiResource, api: Api): Stored {
  return resource.storage === CRD_STORAGE ? settleCrd(object, transaction, api) : object;
}
