import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { eventually } from '@mural/core/testing';
import { SERVICE_ACCOUNTS } from '@mural/kube';
import { cloudCredentials, packArtifact, pushArtifact, RegistryClient } from '@mural/oci';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { conditionOf, NAMESPACE } from '../packages/spoke/src/testing/bed.ts';
import { SourceBed } from '../packages/spoke/src/testing/source-bed.ts';
import { type Aws, type Identity, type PolicyDocument, startAws } from './fixtures/ecr/index.ts';

const REPO = 'acme/workloads';
const EVERYTHING: PolicyDocument = {
  Version: '2012-10-17',
  Statement: [{ Effect: 'Allow', Action: ['ecr:*', 'ecr-public:*', 'sts:*'], Resource: '*' }],
};
const ANYONE: PolicyDocument = {
  Version: '2012-10-17',
  Statement: [{ Effect: 'Allow', Principal: '*', Action: 'sts:AssumeRoleWithWebIdentity' }],
};

const trusted = getCACertificates('default');
let aws: Aws;
let bed: SourceBed;
beforeEach(async () => {
  bed = await SourceBed.create();
  aws = await startAws({ clock: bed.clock });
  setDefaultCACertificates([...trusted, aws.ca]);
  aws.registries.private(aws.account, aws.region).create(REPO);
  await push();
});
afterEach(async () => {
  await bed.close();
  setDefaultCACertificates(trusted);
  await aws.close();
});

/** Puts an artifact there as an operator would. */
async function push(): Promise<void> {
  const registry = aws.registryHost();
  const environment = aws.environment(aws.iam.createUser({ name: 'op', policies: [EVERYTHING] }).accessKey);
  const credentials = cloudCredentials({ provider: 'aws', registry, environment, clock: bed.clock });
  const client = new RegistryClient({ registry, credentials, environment, clock: bed.clock });
  const packed = await packArtifact({ files: [{ path: 'a.yaml', content: 'a: 1\n' }] });
  await pushArtifact(client, REPO, packed, { tags: ['v1'] });
  await client.close();
}

async function irsa(name: string, policies: PolicyDocument[]): Promise<Identity & { roleArn: string }> {
  const issuer = await aws.oidcIssuer();
  const trustPolicy: PolicyDocument = JSON.parse(
    JSON.stringify(ANYONE).replace('"*"', JSON.stringify({ Federated: issuer.provider.arn })),
  ) as PolicyDocument;
  const { arn } = aws.iam.createRole({ name, policies, trustPolicy });
  return await issuer.serviceAccount({ namespace: 'mural-system', name: 'source-controller', roleArn: arn });
}

async function account(name: string, annotations: Record<string, string>): Promise<void> {
  await bed.api.create(SERVICE_ACCOUNTS, {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name, namespace: NAMESPACE, annotations },
  });
}

function tokenCalls(): string[] {
  const api = aws.calls.filter(({ plane }) => plane === 'api');
  return api
    .filter(({ action }) => action.endsWith(':GetAuthorizationToken'))
    .map(({ principal = '' }) => principal);
}

describe('a source with provider aws', () => {
  const spec = (): object => ({
    url: `oci://${aws.registryHost()}/${REPO}`,
    provider: 'aws',
    insecure: false,
    ref: { tag: 'v1' },
  });

  it('pulls with the identity of the controller, and shares one token with all others', async () => {
    const before = tokenCalls().length;
    await bed.create(spec());
    bed.start(aws.environment(await irsa('controller', [EVERYTHING])));
    await bed.reason('Succeeded');
    for (let time = 0; time < 3; time += 1) await bed.reconcile();
    expect(tokenCalls().slice(before)).toHaveLength(1);
  });

  it('takes on the role of its service account with the web identity of the controller', async () => {
    const controller = await irsa('controller', []);
    const tenant = aws.iam.createRole({
      name: 'tenant',
      policies: [EVERYTHING],
      trustPolicy: aws.iam.entity(controller.roleArn).trustPolicy ?? ANYONE,
    });
    await account('tenant', { 'eks.amazonaws.com/role-arn': tenant.arn });
    await bed.create({ ...spec(), serviceAccountName: 'tenant' });
    bed.start(aws.environment(controller));
    await bed.reason('Succeeded');
    expect(tokenCalls().at(-1)).toContain('assumed-role/tenant');
  });

  it('says what is missing when there is no web identity to take on that role with', async () => {
    await account('tenant', { 'eks.amazonaws.com/role-arn': 'arn:aws:iam::123456789012:role/tenant' });
    await bed.create({ ...spec(), serviceAccountName: 'tenant' });
    bed.start(aws.environment());
    const ready = conditionOf(await bed.reason('AuthenticationFailed'), 'Ready');
    expect(ready?.message).toContain('AWS_WEB_IDENTITY_TOKEN_FILE is not set');
  });

  it('that may not get a token says which action it needs, and goes on once it may', async () => {
    const controller = await irsa('controller', []);
    await bed.create(spec());
    bed.start(aws.environment(controller));
    const source = await bed.reason('AuthenticationFailed');
    expect(conditionOf(source, 'Ready')?.message).toContain('ecr:GetAuthorizationToken');
    expect(conditionOf(source, 'Stalled')).toBeUndefined();
    aws.iam.entity(controller.roleArn).policies.set('later', EVERYTHING);
    await eventually(async () => {
      await bed.clock.advance(500);
      const now = bed.get();
      return now !== undefined && conditionOf(now, 'Ready')?.status === 'True';
    });
  });

  it.each([
    ['another registry', { url: 'oci://registry.example/acme/workloads' }],
    [
      'a host that looks alike',
      { url: 'oci://123456789012.dkr.ecr.us-east-1.amazonaws.com.evil.example/acme/workloads' },
    ],
    ['plain HTTP', { insecure: true }],
  ])('stalls for %s, and asks nobody', async (_what, change) => {
    const before = tokenCalls().length;
    await bed.create({ ...spec(), ...change });
    bed.start(aws.environment(await irsa('controller', [EVERYTHING])));
    const source = await bed.reason('AuthenticationFailed');
    expect(conditionOf(source, 'Stalled')).toMatchObject({ status: 'True' });
    expect(tokenCalls()).toHaveLength(before);
    expect(aws.refusedHosts).toEqual([]);
  });
});

/** No fetch of a token is half done: moving the clock on by minutes would let it run out of time. */
function isAtRest(): boolean {
  const last = aws.calls.findLast(({ plane }) => plane !== 'data');
  return (
    last?.result !== undefined && (last.result !== 'ok' || last.action.endsWith(':GetAuthorizationToken'))
  );
}

describe('a day of a source, in which tokens expire', () => {
  it.each(['IRSA', 'instance profile'])(
    'has no failed reconcile while AWS fails for minutes (%s)',
    async (kind) => {
      const before = tokenCalls().length;
      const role = aws.iam.createRole({ name: 'node', policies: [EVERYTHING] });
      const instance = await aws.instance(role.arn, { hopLimit: 2 });
      const web = await irsa('controller', [EVERYTHING]);
      await bed.create({
        url: `oci://${aws.registryHost()}/${REPO}`,
        provider: 'aws',
        insecure: false,
        ref: { tag: 'v1' },
        interval: '10m',
      });
      bed.start(aws.environment(kind === 'IRSA' ? web : instance));
      await bed.reason('Succeeded');
      const reasons = new Set<string | undefined>();
      for (let turn = 0; turn < 24 * 6; turn += 1) {
        // An hour of failure around every time that a token is due.
        const away = turn > 6 && (turn % 36 >= 34 || turn % 36 < 4);
        instance.setDown(away);
        aws.faults.clear();
        if (away) aws.faults.fail('sts:*', 100);
        else await eventually(isAtRest);
        await bed.clock.advance(10 * 60_000);
        const source = await bed.reconcile();
        reasons.add(conditionOf(source, 'Ready')?.reason);
      }
      expect([...reasons]).toEqual(['Succeeded']);
      if (kind === 'IRSA') expect(aws.calls.some(({ result }) => result === 'ServerException')).toBe(true);
      const calls = tokenCalls().length - before;
      // Half a life is six hours: there are four in a day.
      expect(calls).toBeGreaterThanOrEqual(4);
      expect(calls).toBeLessThanOrEqual(8);
    },
    60_000,
  );
});
