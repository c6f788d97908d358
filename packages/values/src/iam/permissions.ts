import type { Values } from '../schema.ts';
import { isAccount } from './arn.ts';
import { IamError } from './errors.ts';
import { type EcrRepository, ecrRepositories } from './registries.ts';

/** What a role is to do: hue pushes, source-controller pulls. */
export type EcrRole = 'push' | 'pull' | 'push-and-pull';

/** One statement of a policy, as IAM writes it. */
export interface PolicyStatement {
  readonly Effect: 'Allow';
  readonly Action: string | readonly string[];
  readonly Resource: string | readonly string[];
}

/** An IAM policy for an identity. */
export interface Policy {
  readonly Version: '2012-10-17';
  readonly Statement: readonly PolicyStatement[];
}

/** Whom a policy is for. */
export interface PermissionOptions {
  readonly role: EcrRole;
  /** Account of the registry of ECR Public, whose host does not tell it. */
  readonly account?: string | undefined;
}

interface Actions {
  readonly repository: readonly string[];
  readonly token: string | readonly string[];
}

const UPLOAD = [
  'CompleteLayerUpload',
  'UploadLayerPart',
  'InitiateLayerUpload',
  'BatchCheckLayerAvailability',
  'PutImage',
];
const PRIVATE_TOKEN = 'ecr:GetAuthorizationToken';
const PUBLIC_TOKEN = ['ecr-public:GetAuthorizationToken', 'sts:GetServiceBearerToken'];

/**
 * The actions of a role, from the API that each request of the distribution protocol counts as.
 *
 * - Pushing begins with HEAD of the manifest, which private ECR takes as BatchGetImage. Blobs are
 *   asked for by HEAD (BatchCheckLayerAvailability), uploaded, and named by PUT of the manifest. The
 *   hub downloads no blob of what it delivers, so GetDownloadUrlForLayer is no part of it.
 * - Pulling is GET of manifests (BatchGetImage) and of blobs (GetDownloadUrlForLayer).
 * - Everybody reads from ECR Public; IAM knows no action for it. The token is for higher limits.
 */
const ACTIONS: Readonly<Record<'private' | 'public', Readonly<Record<EcrRole, Actions>>>> = {
  private: {
    push: { repository: names('ecr', [...UPLOAD, 'BatchGetImage']), token: PRIVATE_TOKEN },
    pull: { repository: names('ecr', ['BatchGetImage', 'GetDownloadUrlForLayer']), token: PRIVATE_TOKEN },
    'push-and-pull': {
      repository: names('ecr', [...UPLOAD, 'BatchGetImage', 'GetDownloadUrlForLayer']),
      token: PRIVATE_TOKEN,
    },
  },
  public: {
    push: { repository: names('ecr-public', UPLOAD), token: PUBLIC_TOKEN },
    pull: { repository: [], token: PUBLIC_TOKEN },
    'push-and-pull': { repository: names('ecr-public', UPLOAD), token: PUBLIC_TOKEN },
  },
};

/**
 * The least that a role needs in ECR for what the values say.
 *
 * @throws IamError `NoEcr`, `AccountMissing`, `AccountInvalid`
 */
export function permissionPolicy(values: Values, options: PermissionOptions): Policy {
  if (options.account !== undefined && !isAccount(options.account)) {
    throw new IamError('AccountInvalid', `"${options.account}" is no AWS account: it is 12 digits`);
  }
  const repositories = repositoriesFor(values, options.role);
  const statements = (['private', 'public'] as const).flatMap((kind) => {
    const ofKind = repositories.filter(({ ecr }) => ecr.kind === kind);
    const actions = ACTIONS[kind][options.role];
    if (ofKind.length === 0) return [];
    // Where no action is about a repository, nobody needs to know its ARN.
    const named = actions.repository.length === 0 ? [] : ofKind;
    return statementsOf(actions, [...new Set(named.map((one) => repositoryArn(one, options.account)))]);
  });
  return { Version: '2012-10-17', Statement: statements };
}

/** The ARN of a repository; public ones have neither region nor alias in theirs. */
function repositoryArn({ ecr, name, host }: EcrRepository, account: string | undefined): string {
  if (ecr.kind === 'public') {
    if (account !== undefined) return `arn:aws:ecr-public::${account}:repository/${name}`;
    throw new IamError(
      'AccountMissing',
      `the account of ${host} is missing: an address of ECR Public does not tell it`,
      {
        hint: 'give the 12 digits of the account that owns the registry with --account',
      },
    );
  }
  return `arn:${ecr.partition}:ecr:${ecr.region}:${ecr.account}:repository/${name}`;
}

function repositoriesFor(values: Values, role: EcrRole): readonly EcrRepository[] {
  const { hub, spokes } = ecrRepositories(values);
  const pushed = hub === undefined ? [] : [hub];
  const repositories = role === 'pull' ? spokes : role === 'push' ? pushed : [...pushed, ...spokes];
  if (repositories.length > 0) return repositories;
  const what =
    role === 'pull' ? 'no spoke reads from ECR' : 'hue.ociRegistry.endpoint names no registry of ECR';
  throw new IamError('NoEcr', `the values need no policy: ${what}`, {
    hint: 'set the endpoint to oci://<account-id>.dkr.ecr.<region>.amazonaws.com/<namespace> or oci://public.ecr.aws/<alias>',
  });
}

function statementsOf(actions: Actions, arns: readonly string[]): readonly PolicyStatement[] {
  const [only, ...more] = arns;
  const token = { Effect: 'Allow', Action: actions.token, Resource: '*' } as const;
  if (only === undefined) return [token];
  const resource = more.length === 0 ? only : arns;
  return [{ Effect: 'Allow', Action: actions.repository, Resource: resource }, token];
}

function names(service: string, actions: readonly string[]): readonly string[] {
  return actions.map((action) => `${service}:${action}`);
}
