import type { Clock, ProcessEnvironment } from '@mural/core';
import type { CloudProvider } from '../cloud/hosts.ts';
import type { Credential } from '../credentials.ts';

/** What an identity is to do in a repository: the hub pushes, spokes pull. */
export type PreflightRole = 'push' | 'pull' | 'push-and-pull';

/** A repository to look at before it is used. */
export interface PreflightOptions {
  /** As `oci://host/path`. */
  readonly url: string;
  readonly role: PreflightRole;
  readonly provider: 'generic' | CloudProvider;
  /** Plain HTTP. */
  readonly insecure?: boolean | undefined;
  /** For `generic`; anonymous unless given. */
  readonly credential?: Credential | undefined;
  /** PEM of a CA that is trusted beside those Node trusts. */
  readonly ca?: string | undefined;
  /** AWS: the role to take on with the web identity of the environment, instead of `AWS_ROLE_ARN`. */
  readonly roleArn?: string | undefined;
  /** AWS: the role that is expected to be the identity; another one is worth a warning. */
  readonly expectedRole?: string | undefined;
  /** How many spokes are published to. */
  readonly spokes: number;
  /** Tags that are moved, as patterns whose only `*` is at the end. */
  readonly movingTags: readonly string[];
  /** How many spokes share one artifact of workloads. */
  readonly groupSize: number;
  /** Limit of manifests that the hub puts in a second. */
  readonly putsPerSecond: number;
  /** The command that prints the policy of a role; part of fixes. */
  readonly policyCommand: string;
  /** The variables that name the identity and the proxy: `process.env` unless given. */
  readonly environment?: ProcessEnvironment | undefined;
  readonly clock?: Clock | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Whether the role pushes. */
export function pushes({ role }: Pick<PreflightOptions, 'role'>): boolean {
  return role !== 'pull';
}

/** Whether the role pulls. */
export function pulls({ role }: Pick<PreflightOptions, 'role'>): boolean {
  return role !== 'push';
}
