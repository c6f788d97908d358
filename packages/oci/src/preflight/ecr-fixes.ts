import type { EcrApi, EcrHost } from '../cloud/hosts.ts';

/** A repository of ECR as its API, the CLI and IAM name it. */
export interface EcrPlace {
  readonly host: string;
  readonly ecr: EcrHost;
  readonly api: EcrApi;
  /** Path below the host; of ECR Public with the alias. */
  readonly repository: string;
  /** `namespace/name`; of ECR Public without the alias. */
  readonly name: string;
}

/** The ARN of the repository. @param account of ECR Public, whose host does not tell it */
export function arnOf({ ecr, name }: EcrPlace, account: string | undefined): string {
  return ecr.kind === 'public'
    ? `arn:aws:ecr-public::${account ?? '<account-id>'}:repository/${name}`
    : `arn:${ecr.partition}:ecr:${ecr.region}:${ecr.account}:repository/${name}`;
}

/** The statement of an IAM policy that allows an action. */
export function statementFor(action: string, resource: string): string {
  return JSON.stringify({ Effect: 'Allow', Action: action, Resource: resource });
}

/** Words for the CLI: what it calls, which repository, where. */
function cli({ api, name }: EcrPlace, operation: string): string {
  return `aws ${api.service} ${operation} --repository-name ${name} --region ${api.region}`;
}

/** The command that creates the repository, with tags that can be moved where the hub moves them. */
export function createCommand(place: EcrPlace): string {
  return cli(place, 'create-repository');
}

/** The command that lets these tags move in a repository of immutable tags. */
export function exclusionCommand(place: EcrPlace, filters: readonly string[]): string {
  const words = filters.map((filter) => `'filterType=WILDCARD,filter=${filter}'`).join(' ');
  return `${cli(place, 'put-image-tag-mutability')} --image-tag-mutability IMMUTABLE_WITH_EXCLUSION --image-tag-mutability-exclusion-filters ${words}`;
}

/** The command that lets all tags move. */
export function mutableCommand(place: EcrPlace): string {
  return `${cli(place, 'put-image-tag-mutability')} --image-tag-mutability MUTABLE`;
}

/** The command that allows another account's identity in the repository. */
export function repositoryPolicyCommand(
  place: EcrPlace,
  principal: string,
  actions: readonly string[],
): string {
  const policy = {
    Version: '2012-10-17',
    Statement: [{ Effect: 'Allow', Principal: { AWS: principal }, Action: actions }],
  };
  return `${cli(place, 'set-repository-policy')} --policy-text '${JSON.stringify(policy)}'`;
}

/** The command that lets ECR delete what no tag names any more. */
export function lifecycleCommand(place: EcrPlace): string {
  const policy = {
    rules: [
      {
        rulePriority: 1,
        description: 'former roots, which no spoke reads any more',
        selection: {
          tagStatus: 'untagged',
          countType: 'sinceImagePushed',
          countUnit: 'days',
          countNumber: 30,
        },
        action: { type: 'expire' },
      },
    ],
  };
  return `${cli(place, 'put-lifecycle-policy')} --lifecycle-policy-text '${JSON.stringify(policy)}'`;
}

/** The ARN of a role for that of a session of it; any other ARN as it is. */
export function principalOf(arn: string): string {
  const [, partition, account, role] = /^arn:([a-z-]+):sts::(\d{12}):assumed-role\/([^/]+)\//.exec(arn) ?? [];
  return role === undefined ? arn : `arn:${partition ?? ''}:iam::${account ?? ''}:role/${role}`;
}
