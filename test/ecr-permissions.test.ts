import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { createLogger, type Logger } from '@mural/core';
import { eventually } from '@mural/core/testing';
import { type Hub, startHub } from '@mural/hub';
import { findCondition, WORKLOAD_DEPLOYMENTS, type WorkloadDeployment } from '@mural/kube';
import { createFakeKubeApi, type FakeKubeApi } from '@mural/kube/testing';
import { cloudCredentials, packArtifact, pushArtifact, RegistryClient } from '@mural/oci';
import { parseValues, permissionPolicy } from '@mural/values';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { conditionOf } from '../packages/spoke/src/testing/bed.ts';
import { SourceBed } from '../packages/spoke/src/testing/source-bed.ts';
import { type AccessKey, type Aws, type PolicyDocument, startAws } from './fixtures/ecr/index.ts';
import { apply, configMap, deployment, everySpoke, manifestsProfile } from './support/objects.ts';

type Kind = 'private' | 'public';
const KINDS = ['private', 'public'] as const;
const ACCOUNT = '123456789012';
const ENDPOINT = {
  private: `oci://${ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/team`,
  public: 'oci://public.ecr.aws/acme',
} as const;

/** The actions of the policy that `mural ecr policy` prints, each with its resource. */
function statementsOf(kind: Kind, role: 'push' | 'pull'): readonly (readonly [string, string])[] {
  const registry = `    endpoint: ${ENDPOINT[kind]}\n    repository: workloads\n    provider: aws\n`;
  const { values } = parseValues(`hue:\n  ociRegistry:\n${registry}`, 'values.yaml');
  return permissionPolicy(values, { role, account: ACCOUNT }).Statement.flatMap(({ Action, Resource }) =>
    [Action].flat().map((action) => [action, String(Resource)] as const),
  );
}

const cases = (role: 'push' | 'pull') =>
  KINDS.flatMap((kind) => statementsOf(kind, role).map(([action]) => [kind, action] as const));

const trusted = getCACertificates('default');
let aws: Aws;
let count = 0;
const open: (() => Promise<void>)[] = [];

beforeAll(async () => {
  aws = await startAws({ accounts: [ACCOUNT], throttling: false });
  setDefaultCACertificates([...trusted, aws.ca]);
  aws.registries.setAlias(ACCOUNT, 'acme');
  aws.registries.private(ACCOUNT, 'us-east-1').create('team/workloads');
  aws.registries.public(ACCOUNT).create('workloads');
});
afterAll(async () => {
  setDefaultCACertificates(trusted);
  await aws.close();
});
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

function policyWithout(kind: Kind, role: 'push' | 'pull', missing?: string): PolicyDocument {
  return {
    Version: '2012-10-17',
    Statement: statementsOf(kind, role)
      .filter(([action]) => action !== missing)
      .map(([Action, Resource]) => ({ Effect: 'Allow', Action, Resource })),
  };
}

function userWith(policy: PolicyDocument): AccessKey {
  count += 1;
  return aws.iam.createUser({ name: `user-${count}`, policies: [policy] }).accessKey;
}

function clientOf(kind: Kind, who: AccessKey): RegistryClient {
  const registry = new URL(ENDPOINT[kind].replace('oci:', 'https:')).host;
  const environment = aws.environment(who);
  const credentials = cloudCredentials({ provider: 'aws', registry, environment });
  const client = new RegistryClient({ registry, credentials, environment });
  open.push(async () => client.close());
  return client;
}

/** A hub that delivers one workload to one spoke through ECR as this identity. */
async function hubAs(kind: Kind, who: AccessKey): Promise<{ api: FakeKubeApi; lines: string[]; hub: Hub }> {
  const api = createFakeKubeApi();
  const lines: string[] = [];
  const log: Logger = createLogger({ destination: { write: (line: string) => void lines.push(line) } });
  const url = `${ENDPOINT[kind]}/workloads`;
  // What the hub lays out is new each time, so that it must be pushed.
  const name = `app-${count}`;
  api.seed({ apiVersion: 'mural.dev/v1alpha1', kind: 'Spoke', metadata: { name: `edge-${count}` } });
  await apply(
    api,
    everySpoke('all'),
    manifestsProfile(name, configMap(name, { value: name })),
    deployment(name, name, 'all'),
  );
  const hub = await startHub({
    client: api,
    registries: [{ url, client: clientOf(kind, who) }],
    spokeRegistry: () => ({ url, interval: '5m', timeout: '60s', provider: 'aws' }),
    log,
  });
  open.push(async () => hub.stop());
  return { api, lines, hub };
}

function conditionIn(api: FakeKubeApi) {
  const [found] = api.stored<WorkloadDeployment>(WORKLOAD_DEPLOYMENTS);
  return findCondition(found?.status?.conditions, 'Published');
}

describe('a hub that pushes', () => {
  it.each(KINDS)('needs no more than the policy for ECR %s', async (kind) => {
    const { api } = await hubAs(kind, userWith(policyWithout(kind, 'push')));
    await eventually(() => conditionIn(api)?.status === 'True');
  });

  it.each(cases('push'))('(%s) without %s names it in condition and log', async (kind, missing) => {
    const { api, lines } = await hubAs(kind, userWith(policyWithout(kind, 'push', missing)));
    const condition = await eventually(() => {
      const now = conditionIn(api);
      return now?.status === 'False' && now;
    });
    expect(condition.message).toContain(missing);
    // The call that failed is named too, where it is not the permission.
    const call = missing.startsWith('sts:') ? 'ecr-public:GetAuthorizationToken' : missing;
    const others = statementsOf(kind, 'push').filter(([action]) => ![missing, call].includes(action));
    for (const [action] of others) expect(condition.message).not.toContain(action);
    expect(lines.join('')).toContain(missing);
  });
});

describe('a spoke that pulls', () => {
  async function sourceAs(kind: Kind, who: AccessKey): Promise<SourceBed> {
    const publisher = clientOf(kind, userWith(policyWithout(kind, 'push')));
    const repository = new URL(`${ENDPOINT[kind].replace('oci:', 'https:')}/workloads`).pathname.slice(1);
    const packed = await packArtifact({ files: [{ path: 'a.yaml', content: `a: ${count}\n` }] });
    await pushArtifact(publisher, repository, packed, { tags: ['v1'], byTag: true });
    const bed = await SourceBed.create();
    open.push(async () => bed.close());
    await bed.create({
      url: `${ENDPOINT[kind]}/workloads`,
      provider: 'aws',
      insecure: false,
      ref: { tag: 'v1' },
    });
    bed.start(aws.environment(who));
    return bed;
  }

  it.each(KINDS)('needs no more than the policy for ECR %s', async (kind) => {
    const bed = await sourceAs(kind, userWith(policyWithout(kind, 'pull')));
    await bed.reason('Succeeded');
  });

  it.each(cases('pull'))('(%s) without %s names it in its condition', async (kind, missing) => {
    const bed = await sourceAs(kind, userWith(policyWithout(kind, 'pull', missing)));
    const source = await bed.until((now) => conditionOf(now, 'Ready')?.status === 'False');
    expect(conditionOf(source, 'Ready')?.message).toContain(missing);
  });
});
