import type { Clock, Logger, ProcessEnvironment, Random } from '@mural/core';
import type { CloudProvider } from './hosts.ts';

/** Whose credentials are wanted, and for which registry. */
export interface CloudCredentialOptions {
  readonly provider: CloudProvider;
  /** The host of the registry: one of the provider's own, in lower case, without a port. */
  readonly registry: string;
  /** AWS: the role to take on with the web identity token of the environment, instead of `AWS_ROLE_ARN`. */
  readonly roleArn?: string | undefined;
  /** The variables that name the identity and the proxy: `process.env` unless given. */
  readonly environment?: ProcessEnvironment | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
  readonly log?: Logger | undefined;
}

/** The same with everything filled in: what the parts of one provider share. */
export interface CloudContext {
  readonly registry: string;
  readonly roleArn: string | undefined;
  readonly environment: ProcessEnvironment;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}
