import { homedir } from 'node:os';
import { join } from 'node:path';
import type { ProcessEnvironment } from '@mural/core';

/** Keys that sign requests. */
export interface AwsKeys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

/** The variable's value, when there is one. */
export function set(environment: ProcessEnvironment, name: string): string | undefined {
  const value = environment[name];
  return value === undefined || value === '' ? undefined : value;
}

/** Where a container asks for its credentials; the relative one first, as the SDKs do. */
export function containerUri(environment: ProcessEnvironment): string | undefined {
  const relative = set(environment, 'AWS_CONTAINER_CREDENTIALS_RELATIVE_URI');
  if (relative !== undefined) return `http://169.254.170.2${relative}`;
  return set(environment, 'AWS_CONTAINER_CREDENTIALS_FULL_URI');
}

/** The two files of the AWS CLI. */
export function sharedFiles(environment: ProcessEnvironment): {
  readonly config: string;
  readonly credentials: string;
} {
  const folder = join(set(environment, 'HOME') ?? homedir(), '.aws');
  return {
    config: set(environment, 'AWS_CONFIG_FILE') ?? join(folder, 'config'),
    credentials: set(environment, 'AWS_SHARED_CREDENTIALS_FILE') ?? join(folder, 'credentials'),
  };
}
