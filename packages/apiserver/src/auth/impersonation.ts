import type { IncomingHttpHeaders } from 'node:http';
import type { User } from '../api.ts';
import { badRequest } from '../status.ts';
import { type Authorizer, refusal } from './rbac.ts';
import type { Attributes } from './rules.ts';

const SERVICE_ACCOUNT = /^system:serviceaccount:([^:]+):([^:]+)$/;

/**
 * The user that a request is to be carried out as: who sends it, or, with `Impersonate-User` and
 * its companions, somebody else whom the sender may impersonate.
 *
 * @throws ApiError `Forbidden` when he may not, `BadRequest` for groups without a user
 */
export function effectiveUser(sender: User, headers: IncomingHttpHeaders, authorizer: Authorizer): User {
  const name = single(headers['impersonate-user']);
  const groups = list(headers['impersonate-group']);
  const uid = single(headers['impersonate-uid']);
  const extra = extras(headers);
  if (name === '') {
    if (groups.length === 0 && uid === '' && Object.keys(extra).length === 0) return sender;
    throw badRequest('requested groups, uid or extra to impersonate without impersonating a user');
  }
  const account = SERVICE_ACCOUNT.exec(name);
  const companions = companionChecks(groups, uid, extra);
  const checks = [
    account === null
      ? wanted('users', name)
      : { ...wanted('serviceaccounts', account[2] ?? ''), namespace: account[1] ?? '' },
    ...companions,
  ];
  for (const check of checks) if (!authorizer.allows(sender, check)) throw refusal(sender, check);
  const implied =
    account !== null && groups.length === 0
      ? ['system:serviceaccounts', `system:serviceaccounts:${account[1] ?? ''}`]
      : [];
  const standing = name === 'system:anonymous' ? 'system:unauthenticated' : 'system:authenticated';
  return {
    name,
    groups: [...new Set([...groups, ...implied, standing])],
    ...(uid === '' ? {} : { uid }),
    extra,
  };
}

function companionChecks(
  groups: readonly string[],
  uid: string,
  extra: Readonly<Record<string, readonly string[]>>,
): Attributes[] {
  const authentication = { group: 'authentication.k8s.io' };
  return [
    ...groups.map((group) => wanted('groups', group)),
    ...(uid === '' ? [] : [{ ...wanted('uids', uid), ...authentication }]),
    ...Object.entries(extra).flatMap(([subresource, values]) =>
      values.map((value) => ({ ...wanted('userextras', value), ...authentication, subresource })),
    ),
  ];
}

function wanted(plural: string, name: string): Attributes {
  return {
    verb: 'impersonate',
    isResource: true,
    group: '',
    plural,
    subresource: '',
    namespace: '',
    name,
    path: '',
  };
}

function single(value: string | string[] | undefined): string {
  return list(value)[0] ?? '';
}

/** Node joins the values of a repeated header with commas. */
function list(value: string | string[] | undefined): string[] {
  return [value ?? []]
    .flat()
    .flatMap((one) => one.split(',').map((part) => part.trim()))
    .filter((one) => one !== '');
}

function extras(headers: IncomingHttpHeaders): Record<string, string[]> {
  const prefix = 'impersonate-extra-';
  const found: [string, string[]][] = Object.entries(headers)
    .filter(([header]) => header.startsWith(prefix))
    .map(([header, value]) => [decodeURIComponent(header.slice(prefix.length)), list(value)]);
  return Object.fromEntries(found);
}
