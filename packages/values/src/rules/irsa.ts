import { isRecord } from '@mural/core';
import type { Found, ValuesDocument } from '../document.ts';
import { readRoleArn } from '../iam/arn.ts';
import type { Path } from '../place.ts';
import { FOREIGN_TREES } from '../schema.ts';
import { endpointOf, filled, formatPath, HUB_REGISTRY, lookup, registriesOf } from './rule.ts';

/** The annotation by which EKS gives a service account a role (IRSA). */
export const ROLE_ANNOTATION = 'eks.amazonaws.com/role-arn';

/** Where the two service accounts stand. */
export const SERVICE_ACCOUNTS = {
  hue: ['hue', 'serviceAccount'],
  'source-controller': ['flux2', 'sourceController', 'serviceAccount'],
} as const;

const PLACES: readonly (readonly string[])[] = Object.values(SERVICE_ACCOUNTS);

/** Roles of IRSA: where they stand, how they are written, and whether they fit the registry. */
export function* checkRoles(document: ValuesDocument): Iterable<Found> {
  yield* checkMisplaced(document);
  yield* checkPair(document);
  for (const path of PLACES) {
    const account = lookup(document.data, path);
    if (!isRecord(account) || !isRecord(account.annotations)) continue;
    if (account.create === false && Object.keys(account.annotations).length > 0) {
      const where = formatPath([...path, 'create']);
      const message = `${where} is false, so nobody writes the annotations below: set it to true, or annotate the account that you made yourself`;
      yield document.finding([...path, 'create'], {
        level: 'warning',
        message,
        rule: 'service-account-not-created',
      });
    }
    const arn = filled(account.annotations[ROLE_ANNOTATION]);
    if (arn !== undefined) yield* checkArn(document, [...path, 'annotations', ROLE_ANNOTATION], arn);
  }
}

/** Whether `path` leads to a role, or to a mapping with one, outside of the two places where one is read. */
export function isMisplacedRole(path: Path, value: unknown): boolean {
  const last = String(path.at(-1));
  if (last === ROLE_ANNOTATION) return true;
  return last.toLowerCase() === 'annotations' && isRecord(value) && Object.hasOwn(value, ROLE_ANNOTATION);
}

function* checkMisplaced(document: ValuesDocument): Iterable<Found> {
  for (const { path, at } of document.scalars()) {
    const key = String(path.at(-1));
    if (at !== 'key' || !/^eks\.amazonaws\.com\/role-?arn$/i.test(key)) continue;
    if (FOREIGN_TREES.includes(String(path[0])) || isOtherController(path)) continue;
    const around = formatPath(path.slice(0, -1));
    const right = PLACES.map((place) => formatPath([...place, 'annotations'])).find(
      (place) => place === around,
    );
    if (right !== undefined && key === ROLE_ANNOTATION) continue;
    const meant = path[0] === 'flux2' ? 'source-controller' : 'hue';
    const place = formatPath([...SERVICE_ACCOUNTS[meant], 'annotations']);
    const message =
      right === undefined
        ? `${formatPath(path)} is not read there: the role of ${meant} belongs into ${place}`
        : `${formatPath(path)} is written ${ROLE_ANNOTATION}; EKS reads no other spelling`;
    const edit = right === undefined ? undefined : ({ kind: 'rename', to: ROLE_ANNOTATION } as const);
    yield document.finding(path, { level: 'error', message, rule: 'role-placement', edit }, 'key');
  }
}

/** Another of Flux's controllers may have a role of its own. */
function isOtherController(path: Path): boolean {
  return path[0] === 'flux2' && path[1] !== 'sourceController' && path.at(-2) === 'annotations';
}

/** A role on one of the two service accounts and not on the other: one of them uses the nodes' role, or none. */
function* checkPair(document: ValuesDocument): Iterable<Found> {
  const usesAws = [...registriesOf(document)].some(({ value }) => value.provider === 'aws');
  const role = (path: Path) => lookup(document.data, [...path, 'annotations', ROLE_ANNOTATION]);
  const names = Object.keys(SERVICE_ACCOUNTS) as (keyof typeof SERVICE_ACCOUNTS)[];
  const having = names.filter((name) => role(SERVICE_ACCOUNTS[name]) !== undefined);
  const [one] = having;
  if (one === undefined || having.length === names.length || !usesAws) return;
  const other = names.find((name) => name !== one) ?? one;
  const place = formatPath([...SERVICE_ACCOUNTS[other], 'annotations', ROLE_ANNOTATION]);
  const message = `${one} has a role and ${other} has none: on EKS it needs ${place} too (another role of its own is best)`;
  yield document.finding(
    [...SERVICE_ACCOUNTS[one], 'annotations', ROLE_ANNOTATION],
    { level: 'warning', message, rule: 'role-missing' },
    'key',
  );
}

function* checkArn(document: ValuesDocument, path: Path, arn: string): Iterable<Found> {
  const where = formatPath(path);
  const role = readRoleArn(arn);
  if (role === undefined) {
    const message = `${where} is not the ARN of a role: write arn:aws:iam::<account-id>:role/<iam-role-name>, the account with 12 digits`;
    yield document.finding(path, { level: 'error', message, rule: 'role-arn' });
    return;
  }
  const hub = lookup(document.data, HUB_REGISTRY);
  const ecr = isRecord(hub) ? endpointOf(hub)?.ecr : undefined;
  if (ecr === undefined) return;
  const partition = ecr.kind === 'private' ? ecr.partition : 'aws';
  if (role.partition !== partition) {
    const message = `${where} is a role of the partition ${role.partition}, and the registry is one of ${partition}: no identity crosses that border`;
    yield document.finding(path, { level: 'error', message, rule: 'role-partition' });
  } else if (ecr.kind === 'private' && role.account !== ecr.account) {
    const message = `${where} is a role of the account ${role.account}, and the registry is that of ${ecr.account}: it needs a repository policy there that lets the role in`;
    yield document.finding(path, { level: 'warning', message, rule: 'role-account' });
  }
}
