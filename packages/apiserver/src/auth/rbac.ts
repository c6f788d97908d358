import type { User } from '../api.ts';
import type { Stored } from '../objects.ts';
import { dig, digList, digString } from '../objects.ts';
import type { ApiResource } from '../resources/types.ts';
import { ApiError, forbidden } from '../status.ts';
import type { Store, Transaction } from '../storage/store.ts';
import type { Attributes, Rule } from './rules.ts';
import { describeRule, ruleAllows, rulesOf, uncovered } from './rules.ts';

const GROUP = 'rbac.authorization.k8s.io';
const ROLES = `${GROUP}/roles`;
const CLUSTER_ROLES = `${GROUP}/clusterroles`;
const ROLE_BINDINGS = `${GROUP}/rolebindings`;
const CLUSTER_ROLE_BINDINGS = `${GROUP}/clusterrolebindings`;
/** The group whose members may do everything. */
export const MASTERS = 'system:masters';
/** Rules are remembered for that many users. */
const REMEMBERED = 1000;

/** The rules of one user: those that hold everywhere, and those of single namespaces. */
interface Held {
  readonly everywhere: readonly Rule[];
  readonly byNamespace: ReadonlyMap<string, readonly Rule[]>;
}

/** A write of a role or a binding, to be judged by what the writer may do himself. */
export interface EscalationCheck {
  readonly user: User;
  readonly resource: ApiResource;
  readonly object: Stored;
  readonly transaction: Transaction;
}

/** Role-based access control, evaluated from the stored roles and bindings. */
export class Authorizer {
  readonly #store: Store;
  readonly #held = new Map<string, Held>();

  constructor(store: Store) {
    this.#store = store;
    store.onChange((changes) => {
      if (changes.some((change) => change.resource.startsWith(`${GROUP}/`))) this.#held.clear();
    });
  }

  /** Whether a user may do something. */
  allows(user: User, wanted: Attributes): boolean {
    if (user.groups.includes(MASTERS)) return true;
    return this.rulesFor(user, wanted.namespace).some((rule) => ruleAllows(rule, wanted));
  }

  /** All rules of a user that hold in a namespace, or, for the empty one, in the whole cluster. */
  rulesFor(user: User, namespace: string): readonly Rule[] {
    const held = this.#heldBy(user);
    return namespace === ''
      ? held.everywhere
      : [...held.everywhere, ...(held.byNamespace.get(namespace) ?? [])];
  }

  /**
   * Refuses roles and bindings that would grant what the writer does not hold, unless he may
   * `escalate` or `bind` the role.
   *
   * @throws ApiError `Forbidden`
   */
  checkEscalation(check: EscalationCheck): void {
    const { user, resource, object } = check;
    if (user.groups.includes(MASTERS)) return;
    const binding = resource.plural.endsWith('bindings');
    const namespace = object.metadata.namespace ?? '';
    const target = binding ? roleOf(object, check.transaction) : object;
    const name = binding ? digString(object, 'roleRef', 'name') : (object.metadata.name ?? '');
    const plural = binding
      ? digString(object, 'roleRef', 'kind') === 'ClusterRole'
        ? 'clusterroles'
        : 'roles'
      : resource.plural;
    const wanted = {
      verb: binding ? 'bind' : 'escalate',
      isResource: true,
      group: GROUP,
      plural,
      subresource: '',
      namespace,
      name,
      path: '',
    };
    if (this.allows(user, wanted)) return;
    const missing = uncovered(this.rulesFor(user, namespace), rulesOf(target));
    if (missing.length === 0 && (target !== undefined || !binding)) return;
    const groups = user.groups.map((group) => JSON.stringify(group)).join(' ');
    const lines = missing.map(describeRule).join('\n');
    throw forbidden(
      resource,
      object.metadata.name ?? '',
      `user ${JSON.stringify(user.name)} (groups=[${groups}]) is attempting to grant RBAC permissions not ` +
        `currently held:\n${lines}`,
    );
  }

  #heldBy(user: User): Held {
    const key = JSON.stringify([user.name, user.groups]);
    const known = this.#held.get(key);
    if (known !== undefined) return known;
    const everywhere = this.#store
      .list(CLUSTER_ROLE_BINDINGS)
      .filter((binding) => binds(binding, user))
      .flatMap((binding) => rulesOf(roleOf(binding, this.#store)));
    const byNamespace = new Map<string, Rule[]>();
    for (const binding of this.#store.list(ROLE_BINDINGS)) {
      if (!binds(binding, user)) continue;
      const namespace = binding.metadata.namespace ?? '';
      byNamespace.set(namespace, [
        ...(byNamespace.get(namespace) ?? []),
        ...rulesOf(roleOf(binding, this.#store)),
      ]);
    }
    const held = { everywhere, byNamespace };
    const oldest = this.#held.keys().next();
    if (this.#held.size >= REMEMBERED && oldest.done !== true) this.#held.delete(oldest.value);
    this.#held.set(key, held);
    return held;
  }
}

function roleOf(binding: Stored, source: Pick<Store, 'get'>): Stored | undefined {
  const name = digString(binding, 'roleRef', 'name');
  if (digString(binding, 'roleRef', 'kind') === 'ClusterRole') return source.get(CLUSTER_ROLES, '', name);
  return source.get(ROLES, binding.metadata.namespace ?? '', name);
}

function binds(binding: Stored, user: User): boolean {
  return digList(binding, 'subjects').some((subject) => {
    const name = digString(subject, 'name');
    switch (dig(subject, 'kind')) {
      case 'User':
        return name === user.name;
      case 'Group':
        return user.groups.includes(name);
      case 'ServiceAccount': {
        const namespace = digString(subject, 'namespace') || (binding.metadata.namespace ?? '');
        return user.name === `system:serviceaccount:${namespace}:${name}`;
      }
      default:
        return false;
    }
  });
}

/** Why a request was refused, in the words of the API. */
export function refusal(user: User, wanted: Attributes): Error {
  const who = JSON.stringify(user.name);
  if (!wanted.isResource) {
    const why = `User ${who} cannot ${wanted.verb} path ${JSON.stringify(wanted.path)}`;
    return new ApiError('Forbidden', `forbidden: ${why}`, {});
  }
  const resource = wanted.subresource === '' ? wanted.plural : `${wanted.plural}/${wanted.subresource}`;
  const where =
    wanted.namespace === '' ? 'at the cluster scope' : `in the namespace ${JSON.stringify(wanted.namespace)}`;
  return forbidden(
    { group: wanted.group, plural: wanted.plural },
    wanted.name,
    `User ${who} cannot ${wanted.verb} resource "${resource}" in API group "${wanted.group}" ${where}`,
  );
}
