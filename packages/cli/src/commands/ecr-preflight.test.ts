import { Values } from '@mural/values';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { targetsOf } from './ecr-preflight-targets.ts';

const ECR = 'oci://123456789012.dkr.ecr.eu-west-1.amazonaws.com';
const VALUES = `
hue:
  serviceAccount: { annotations: { eks.amazonaws.com/role-arn: "arn:aws:iam::123456789012:role/hue" } }
  ociRegistry: { endpoint: "${ECR}/team", repository: workloads, provider: aws }
flux2:
  sourceController:
    serviceAccount: { annotations: { eks.amazonaws.com/role-arn: "arn:aws:iam::123456789012:role/source" } }
fleetConfig:
  spokes:
    - name: one
    - name: two
      ociRegistry: { endpoint: "${ECR}/team", repository: workloads, provider: aws }
    - name: three
      ociRegistry: { endpoint: "${ECR}/mirror/", repository: workloads, provider: aws }
    - name: four
      ociRegistry:
        endpoint: oci://registry.example.org/team
        repository: workloads
        basicAuth: { username: four, password: hunter2-hunter2 }
`;
/** Past the lint, which allows no other registry to a spoke as long as nobody copies to it. */
const read = (text: string): Values => Values.parse(parse(text) ?? {});
const values = read(VALUES);
const shown = (role: 'push' | 'pull' | 'push-and-pull'): string[] =>
  targetsOf(values, role).map(
    ({ url, role: as, provider, boundRole, credential }) =>
      `${as} ${url.replace(ECR, 'ecr')} ${provider} ${boundRole?.split('/')[1] ?? ''} ${credential?.username ?? ''}`,
  );

describe('what a preflight looks at', () => {
  it('is the repository that hue writes', () => {
    expect(shown('push')).toEqual(['push ecr/team/workloads aws hue ']);
  });

  it('is every repository that a spoke reads, once for each identity', () => {
    expect(shown('pull')).toEqual([
      'pull ecr/team/workloads aws source ',
      'pull ecr/mirror/workloads aws source ',
      'pull oci://registry.example.org/team/workloads generic source four',
    ]);
  });

  it('is both for one that does both, the shared repository once', () => {
    expect(shown('push-and-pull')).toEqual([
      'push-and-pull ecr/team/workloads aws hue ',
      'pull ecr/mirror/workloads aws source ',
      'pull oci://registry.example.org/team/workloads generic source four',
    ]);
  });

  it('is what hue writes when the values name no spokes', () => {
    const alone = read(VALUES.replace(/fleetConfig:[\s\S]*/, ''));
    expect(targetsOf(alone, 'pull').map(({ url }) => url)).toEqual([`${ECR}/team/workloads`]);
    expect(targetsOf(read(''), 'push-and-pull')).toEqual([]);
  });
});
