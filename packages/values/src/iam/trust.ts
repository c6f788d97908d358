import { nearest } from '@mural/core';
import { ROLE_ANNOTATION } from '../rules/irsa.ts';
import type { Values } from '../schema.ts';
import { isAccount, readRoleArn } from './arn.ts';
import { IamError } from './errors.ts';
import type { EcrRole } from './permissions.ts';
import { ecrRepositories } from './registries.ts';

/** Who may take a role: the OpenID Connect issuers of clusters, and service accounts there. */
export interface TrustOptions {
  /** Issuer of the hub's cluster: a URL, or what follows `https://` in it. */
  readonly hubIssuer?: string | undefined;
  /** Issuers of clusters of spokes, by the name of the spoke. */
  readonly spokeIssuers: Readonly<Record<string, string>>;
  /** Namespace of the release on the hub and on every spoke. */
  readonly namespace: string;
  /** Namespaces of spokes that differ, by the name of the spoke. */
  readonly spokeNamespaces: Readonly<Record<string, string>>;
  /** Whose role it is: hue's, source-controller's, or one that both share. */
  readonly role: EcrRole;
  /** Account of the role; that of the role in the values, else that of the registry, unless given. */
  readonly account?: string | undefined;
}

/** One statement of a trust policy. */
export interface TrustStatement {
  readonly Effect: 'Allow';
  readonly Principal: { readonly Federated: string };
  readonly Action: 'sts:AssumeRoleWithWebIdentity';
  readonly Condition: { readonly StringEquals: Readonly<Record<string, string | readonly string[]>> };
}

/** A trust policy of an IAM role. */
export interface TrustPolicy {
  readonly Version: '2012-10-17';
  readonly Statement: readonly TrustStatement[];
}

/** The audience of the tokens that EKS gives to pods for STS. */
const AUDIENCE = 'sts.amazonaws.com';
const AUDIENCE_ANNOTATION = 'eks.amazonaws.com/audience';

/**
 * The trust policy of IRSA: one statement for each issuer, with the service accounts of that cluster
 * and the audience. On the hub these are hue and source-controller (hue alone where the role only pushes),
 * on a spoke source-controller.
 *
 * @throws IamError `IssuerMissing`, `IssuerInvalid`, `SpokeUnknown`, `NameInvalid`, `AccountMissing`, `AccountInvalid`
 */
export function trustPolicy(values: Values, options: TrustOptions): TrustPolicy {
  requireKnownSpokes(values, options);
  const { partition, account } = ownerOf(values, options);
  const subjects = subjectsByIssuer(options);
  if (subjects.size === 0) {
    throw new IamError(
      'IssuerMissing',
      `no issuer with a service account for the role ${options.role} is given`,
      {
        hint: 'give the OpenID Connect issuer URL of the cluster of the hub with --hub-issuer URL, or of a spoke with --spoke-issuer NAME=URL',
      },
    );
  }
  const audience = audienceOf(values, options.role);
  return {
    Version: '2012-10-17',
    Statement: [...subjects].map(([issuer, accounts]) => ({
      Effect: 'Allow',
      Principal: { Federated: `arn:${partition}:iam::${account}:oidc-provider/${issuer}` },
      Action: 'sts:AssumeRoleWithWebIdentity',
      Condition: {
        StringEquals: {
          [`${issuer}:sub`]: accounts.length === 1 ? (accounts[0] ?? '') : accounts,
          [`${issuer}:aud`]: audience,
        },
      },
    })),
  };
}

/** The roles that the values give to the two service accounts. */
export function rolesOf(values: Values): {
  readonly hue?: string | undefined;
  readonly sourceController?: string | undefined;
} {
  return {
    hue: values.hue.serviceAccount.annotations[ROLE_ANNOTATION],
    sourceController: values.flux2.sourceController.serviceAccount.annotations[ROLE_ANNOTATION],
  };
}

/** Spokes of the values for which no issuer is given: they run in the hub's cluster, or without IRSA. */
export function spokesWithoutIssuer(values: Values, options: TrustOptions): readonly string[] {
  return values.fleetConfig.spokes
    .map(({ name }) => name)
    .filter((name) => !Object.hasOwn(options.spokeIssuers, name));
}

function subjectsByIssuer(options: TrustOptions): ReadonlyMap<string, readonly string[]> {
  const subjects = new Map<string, string[]>();
  const add = (issuer: string, namespace: string, account: string) => {
    const subject = `system:serviceaccount:${requireNamespace(namespace)}:${account}`;
    const known = subjects.get(issuer) ?? [];
    if (!known.includes(subject)) subjects.set(issuer, [...known, subject]);
  };
  if (options.hubIssuer !== undefined) {
    const issuer = readIssuer(options.hubIssuer);
    // Under hue's account, the hub also pulls as its own spoke: one process has one token.
    add(issuer, options.namespace, 'hue');
    if (options.role !== 'push') add(issuer, options.namespace, 'source-controller');
  }
  if (options.role === 'push') return subjects;
  for (const [name, url] of Object.entries(options.spokeIssuers)) {
    const namespace = Object.hasOwn(options.spokeNamespaces, name)
      ? options.spokeNamespaces[name]
      : undefined;
    add(readIssuer(url), namespace ?? options.namespace, 'source-controller');
  }
  return subjects;
}

const ISSUER = /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?:\/[\w.~-]+)*$/i;

/** An issuer as IAM names it: host and path, without scheme and without a slash at the end. */
function readIssuer(text: string): string {
  const bare = text
    .trim()
    .replace(/^https:\/\//i, '')
    .replace(/\/+$/, '');
  if (ISSUER.test(bare) && bare.length <= 255) return bare;
  throw new IamError('IssuerInvalid', `"${text.slice(0, 300)}" is no OpenID Connect issuer`, {
    hint: 'write https://oidc.eks.<region>.amazonaws.com/id/<provider-id>; "aws eks describe-cluster --query cluster.identity.oidc.issuer" shows it',
  });
}

function requireNamespace(namespace: string): string {
  if (/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(namespace)) return namespace;
  throw new IamError('NameInvalid', `"${namespace.slice(0, 100)}" is not the name of a namespace`);
}

function requireKnownSpokes(values: Values, options: TrustOptions): void {
  const known = values.fleetConfig.spokes.map(({ name }) => name);
  for (const name of [...Object.keys(options.spokeIssuers), ...Object.keys(options.spokeNamespaces)]) {
    if (known.includes(name)) continue;
    const meant = nearest(name, known);
    const hint =
      meant === undefined ? `the values name ${known.join(', ') || 'no spokes'}` : `did you mean ${meant}?`;
    throw new IamError('SpokeUnknown', `fleetConfig.spokes names no spoke ${name}`, { hint });
  }
}

/** Partition and account of the role, and so of the OIDC providers: both are in one account. */
function ownerOf(
  values: Values,
  options: TrustOptions,
): { readonly partition: string; readonly account: string } {
  const { hue, sourceController } = rolesOf(values);
  const arns = options.role === 'pull' ? [sourceController, hue] : [hue, sourceController];
  const role = arns
    .map((arn) => (arn === undefined ? undefined : readRoleArn(arn)))
    .find((read) => read !== undefined);
  const { hub, spokes } = ecrRepositories(values);
  const ecr = [hub, ...spokes].map((repository) => repository?.ecr).find((host) => host !== undefined);
  const registry = ecr?.kind === 'private' ? ecr : undefined;
  const partition = role?.partition ?? registry?.partition ?? 'aws';
  const account = options.account ?? role?.account ?? registry?.account;
  if (account === undefined) {
    throw new IamError(
      'AccountMissing',
      'neither a role nor a private registry in the values tells the account',
      {
        hint: 'give the 12 digits of the account of the role with --account',
      },
    );
  }
  if (!isAccount(account))
    throw new IamError('AccountInvalid', `"${account}" is no AWS account: it is 12 digits`);
  return { partition, account };
}

/** EKS lets an annotation name another audience for the tokens of a service account. */
function audienceOf(values: Values, role: EcrRole): string {
  const hue = values.hue.serviceAccount.annotations[AUDIENCE_ANNOTATION];
  const source = values.flux2.sourceController.serviceAccount.annotations[AUDIENCE_ANNOTATION];
  return (role === 'pull' ? source : hue) ?? AUDIENCE;
}
