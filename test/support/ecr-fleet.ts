import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { stringify } from 'yaml';
import { run } from '../../packages/cli/src/testing/run.ts';
import type { Aws, Identity, RecordedCall } from '../fixtures/ecr/index.ts';
import { temporaryFolder } from './mural.ts';

/** Private, or ECR Public. */
export type EcrKind = 'private' | 'public';

/** A repository of ECR, the values that name it, and the roles with what `mural ecr` prints for them. */
export interface EcrFleet {
  /** `host/path/repository`. */
  readonly repository: string;
  /** As ECR and the AWS CLI call it. */
  readonly name: string;
  readonly values: string;
  /** Hue's, by IRSA. */
  readonly hub: Identity;
  /** Source-controller's on each spoke: by IRSA with an issuer for each cluster, on the last by its instance. */
  readonly spokes: Readonly<Record<string, Identity>>;
}

/** Names of the spokes of {@link ecrFleet}. */
export const SPOKE_NAMES = ['edge-1', 'edge-2', 'edge-3'] as const;

/** Sets up what an operator does before the move to ECR, with the policies that `mural ecr` prints and nothing more. */
export async function ecrFleet(aws: Aws, kind: EcrKind): Promise<EcrFleet> {
  const name = kind === 'private' ? 'team/workloads' : 'workloads';
  const registries = aws.registries;
  if (kind === 'private') registries.private(aws.account, aws.region).create(name);
  else registries.public(aws.account).create(name);
  const endpoint =
    kind === 'private'
      ? `${aws.registryHost()}/team`
      : `public.ecr.aws/${aws.registries.aliasOf(aws.account)}`;
  const values = await writeValues(aws, endpoint);
  const issuers = await Promise.all([aws.oidcIssuer(), aws.oidcIssuer(), aws.oidcIssuer()]);
  const [own, one, two] = issuers;
  const print = async (...args: readonly string[]): Promise<string> => {
    const ran = await run(['ecr', ...args, '--values', values, '--account', aws.account]);
    expect(ran).toMatchObject({ code: 0, err: expect.not.stringContaining('error') });
    return ran.out;
  };
  const pull = await print('policy', '--role', 'pull');
  const push = await print('policy', '--role', 'push');
  const hue = aws.iam.createRole({
    name: 'mural-hue',
    policies: [push],
    trustPolicy: await print('trust-policy', '--role', 'push', '--hub-issuer', own.issuer),
  });
  const spokeIssuers = ['--spoke-issuer', `edge-1=${one.issuer}`, '--spoke-issuer', `edge-2=${two.issuer}`];
  const source = aws.iam.createRole({
    name: 'mural-source',
    policies: [pull],
    trustPolicy: await print('trust-policy', '--role', 'pull', ...spokeIssuers),
  });
  const node = aws.iam.createRole({ name: 'mural-node', policies: [pull] });
  const account = { namespace: 'mural-system', name: 'source-controller', roleArn: source.arn };
  return {
    repository: `${endpoint}/workloads`,
    name,
    values,
    hub: await own.serviceAccount({ namespace: 'mural-system', name: 'hue', roleArn: hue.arn }),
    spokes: {
      'edge-1': await one.serviceAccount(account),
      'edge-2': await two.serviceAccount(account),
      'edge-3': await aws.instance(node.arn, { hopLimit: 2 }),
    },
  };
}

async function writeValues(aws: Aws, endpoint: string): Promise<string> {
  const ociRegistry = { endpoint: `oci://${endpoint}`, repository: 'workloads', provider: 'aws' };
  const bound = (role: string) => ({
    annotations: { 'eks.amazonaws.com/role-arn': `arn:aws:iam::${aws.account}:role/${role}` },
  });
  const values = {
    hue: {
      ociRegistry: { ...ociRegistry, interval: '2s', timeout: '20s' },
      serviceAccount: bound('mural-hue'),
    },
    flux2: { sourceController: { serviceAccount: bound('mural-source') } },
    fleetConfig: {
      spokes: SPOKE_NAMES.map((name) => ({
        name,
        labels: { tier: 'edge' },
        ociRegistry,
      })),
    },
    zot: { enabled: false },
  };
  const file = join(await temporaryFolder(), 'values.yaml');
  await writeFile(file, stringify(values));
  return file;
}

/** The most calls of an action within any second. */
export function mostWithinASecond(calls: readonly RecordedCall[], action: string): number {
  const times = calls.filter((call) => call.action === action).map(({ at }) => at);
  let first = 0;
  let most = 0;
  times.forEach((time, index) => {
    while (time - (times[first] ?? time) >= 1000) first += 1;
    most = Math.max(most, index - first + 1);
  });
  return most;
}
