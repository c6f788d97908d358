import { readFile } from 'node:fs/promises';
import { eventually } from '@mural/core/testing';
import {
  CONFIG_MAPS,
  OCI_REPOSITORIES,
  type OCIRepository,
  SECRETS,
  SERVICE_ACCOUNTS,
  type Spoke,
  SPOKES,
  type UnstructuredObject,
} from '@mural/kube';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { type Aws, type PolicyDocument, startAws } from './fixtures/ecr/index.ts';
import { cleanUp, deploymentReady, type Hub, startHub } from './support/mural.ts';
import { apply, configMap, deployment, everySpoke, manifestsProfile } from './support/objects.ts';

const REPOSITORY = 'acme/workloads';
const PULL = ['ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer'];
const PUSH = [
  ...PULL,
  ...['CompleteLayerUpload', 'UploadLayerPart', 'InitiateLayerUpload'].map((name) => `ecr:${name}`),
  ...['BatchCheckLayerAvailability', 'PutImage'].map((name) => `ecr:${name}`),
];

/** The hub on EKS: a role for hue, which pushes, and another for the source controller, which pulls. */
describe('a hub that is moved to Amazon ECR while it runs, with a role for each service account', () => {
  let aws: Aws;
  let hub: Hub;
  let roles: { readonly hue: string; readonly source: string };

  beforeAll(async () => {
    aws = await startAws();
    aws.registries.private(aws.account, aws.region).create(REPOSITORY);
    const issuer = await aws.oidcIssuer();
    const role = (name: string, actions: readonly string[]): string => {
      const trust = { Effect: 'Allow', Principal: { Federated: issuer.provider.arn } } as const;
      const trustPolicy = {
        Version: '2012-10-17',
        Statement: [{ ...trust, Action: 'sts:AssumeRoleWithWebIdentity' }],
      } as PolicyDocument;
      return aws.iam.createRole({ name, policies: [policyOf(aws, actions)], trustPolicy }).arn;
    };
    roles = { hue: role('hue', PUSH), source: role('source', PULL) };
    const roleArn = role('pod', []);
    const pod = await issuer.serviceAccount({ namespace: 'mural-system', name: 'hue', roleArn });
    hub = await startHub({ env: aws.environment(pod) });
  }, 60_000);
  afterAll(async () => {
    await cleanUp();
    await aws.close();
  });

  function values(zot: boolean): string {
    const annotations = (arn: string) => ({ annotations: { 'eks.amazonaws.com/role-arn': arn } });
    const ociRegistry = {
      endpoint: `oci://${aws.registryHost()}/acme`,
      ...{ repository: 'workloads', provider: 'aws', interval: '1s' },
    };
    return stringify({
      hue: { ociRegistry, serviceAccount: annotations(roles.hue) },
      flux2: { sourceController: { serviceAccount: annotations(roles.source) } },
      zot: { enabled: zot },
    });
  }

  async function setValues(text: string): Promise<void> {
    const secret: UnstructuredObject = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'mural-values', namespace: 'mural-system' },
      data: { 'values.yaml': Buffer.from(text).toString('base64') },
    };
    await hub.client.apply(SECRETS, secret, { fieldManager: 'kubectl', force: true });
  }

  it('pushes with the one role and pulls with the other', async () => {
    await setValues(values(true));
    const url = `oci://${aws.registryHost()}/${REPOSITORY}`;
    await eventually(async () => {
      const { status } = await hub.client.get<Spoke>(SPOKES, { name: 'hub' });
      return status?.registryUrl === url;
    }, 30_000);
    await apply(
      hub.client,
      manifestsProfile('one', configMap('one', { a: '1' })),
      everySpoke('all'),
      deployment('one', 'one', 'all'),
    );
    await deploymentReady(hub, 'one');
    await hub.client.get(CONFIG_MAPS, { name: 'one', namespace: 'default' });
    const { items } = await hub.client.list<OCIRepository>(OCI_REPOSITORIES, { namespace: 'mural-system' });
    for (const { spec, status } of items) {
      expect(spec).toMatchObject({ url, provider: 'aws' });
      expect(spec.secretRef).toBeUndefined();
      expect(spec.certSecretRef).toBeUndefined();
      expect(status?.conditions?.find(({ type }) => type === 'Ready')?.status).toBe('True');
    }
    const by = (role: string) =>
      new Set(
        aws.calls
          .filter(({ principal }) => principal?.includes(`/${role}/`) === true)
          .map(({ action }) => action),
      );
    expect(by('hue')).toContain('ecr:PutImage');
    expect(by('source')).toContain('ecr:BatchGetImage');
    expect(by('source')).not.toContain('ecr:PutImage');
    expect(by('pod')).toEqual(new Set());
  }, 90_000);

  it('shows the roles at the service accounts, and no token of the cloud anywhere', async () => {
    const accountOf = async (name: string) =>
      hub.client.get(SERVICE_ACCOUNTS, { name, namespace: 'mural-system' });
    expect((await accountOf('hue')).metadata.annotations).toMatchObject({
      'eks.amazonaws.com/role-arn': roles.hue,
    });
    expect((await accountOf('source-controller')).metadata.annotations).toMatchObject({
      'eks.amazonaws.com/role-arn': roles.source,
    });
    const config = await readFile(hub.ready.dockerConfig, 'utf8');
    expect(config).not.toContain(aws.registryHost());
  });

  it('does without the default registry afterwards', async () => {
    await setValues(values(false));
    const log = async (): Promise<string> => readFile(hub.log, 'utf8');
    await eventually(async () => (await log()).includes('every spoke reads the present registry'), 40_000);
    await eventually(async () => {
      try {
        await fetch(hub.ready.registry);
        return false;
      } catch (error) {
        return String((error as { cause?: unknown }).cause).includes('ECONNREFUSED');
      }
    }, 20_000);
  }, 90_000);
});

function policyOf(aws: Aws, actions: readonly string[]): PolicyDocument {
  const repository = `arn:aws:ecr:${aws.region}:${aws.account}:repository/${REPOSITORY}`;
  return {
    Version: '2012-10-17',
    Statement: [
      ...(actions.length === 0 ? [] : [{ Effect: 'Allow', Action: actions, Resource: repository }]),
      { Effect: 'Allow', Action: 'ecr:GetAuthorizationToken', Resource: '*' },
    ],
  } as PolicyDocument;
}
