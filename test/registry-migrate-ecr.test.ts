import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Spoke, SPOKES } from '@mural/kube';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { type Aws, type PolicyDocument, startAws } from './fixtures/ecr/index.ts';
import { cleanUp, deploymentReady, type Hub, mural, startHub, temporaryFolder } from './support/mural.ts';
import { apply, configMap, deployment, everySpoke, manifestsProfile } from './support/objects.ts';

const REPOSITORY = 'acme/workloads';
const WORKLOADS = 12;

/** What the hub needs to push to one repository and a spoke to pull from it, and nothing more. */
function pushAndPull(aws: Aws): PolicyDocument {
  const actions = [
    ...['CompleteLayerUpload', 'UploadLayerPart', 'InitiateLayerUpload', 'BatchCheckLayerAvailability'],
    ...['PutImage', 'BatchGetImage', 'GetDownloadUrlForLayer'],
  ];
  return {
    Version: '2012-10-17',
    Statement: [
      {
        Effect: 'Allow',
        Action: actions.map((action) => `ecr:${action}`),
        Resource: `arn:aws:ecr:${aws.region}:${aws.account}:repository/${REPOSITORY}`,
      },
      { Effect: 'Allow', Action: 'ecr:GetAuthorizationToken', Resource: '*' },
    ],
  };
}

describe('from the embedded registry to a private registry of Amazon ECR', () => {
  let aws: Aws;
  let hub: Hub;
  let env: Record<string, string>;
  let args: string[];
  let ecr: string;
  let embedded: string;

  beforeAll(async () => {
    aws = await startAws();
    aws.registries.private(aws.account, aws.region).create(REPOSITORY);
    env = aws.environment(aws.iam.createUser({ name: 'hue', policies: [pushAndPull(aws)] }).accessKey);
    const folder = await temporaryFolder();
    const [old, to] = [join(folder, 'old.yaml'), join(folder, 'ecr.yaml')];
    const ociRegistry = {
      endpoint: `oci://${aws.registryHost()}/acme`,
      ...{ repository: 'workloads', provider: 'aws', interval: '1s' },
    };
    await writeFile(old, stringify({ hue: { ociRegistry: { interval: '1s' } } }));
    await writeFile(to, stringify({ hue: { ociRegistry } }));
    hub = await startHub({ args: ['--values', old], env });
    for (let index = 1; index <= WORKLOADS; index += 1) {
      const name = `w-${index}`;
      await apply(
        hub.client,
        manifestsProfile(name, configMap(name, { index: String(index) })),
        everySpoke('all'),
        deployment(name, name, 'all'),
      );
    }
    for (let index = 1; index <= WORKLOADS; index += 1) await deploymentReady(hub, `w-${index}`);
    args = ['registry', 'migrate', '--values', old, '--to', to, '--kubeconfig', hub.ready.kubeconfig];
    ecr = `oci://${aws.registryHost()}/${REPOSITORY}`;
    embedded = `oci://${new URL(hub.ready.registry).host}/mural/workloads`;
  }, 120_000);
  afterAll(async () => {
    await cleanUp();
    await aws.close();
  });

  async function registryUrl(): Promise<string | undefined> {
    return (await hub.client.get<Spoke>(SPOKES, { name: 'hub' })).status?.registryUrl;
  }

  /** Calls that AWS refused for want of a permission, or because there were too many. */
  function refusedCalls(): string[] {
    return aws.calls
      .filter(({ result }) => /AccessDenied|Throttling|TOOMANY|DENIED/i.test(result ?? ''))
      .map(({ action, result }) => `${action} ${result ?? ''}`);
  }

  it('moves with the permissions that push and pull need, within the rate of PutImage', async () => {
    const preview = await mural([...args, '--dry-run'], { env });
    expect([preview.code, preview.stderr]).toEqual([0, '']);
    expect(preview.stdout).toContain(`to   ${ecr}\n`);
    expect(aws.calls.filter(({ action }) => action === 'ecr:PutImage')).toEqual([]);

    const moved = await mural(args, { env });
    expect(moved.stderr).toContain(`✔ hub reads ${ecr}`);
    expect(moved.code).toBe(0);
    expect(moved.stdout).toContain(`Nothing needs ${embedded} any more: it can be removed.`);
    expect(moved.stdout).toContain('zot: {enabled: false}');
    expect(await registryUrl()).toBe(ecr);
    expect(refusedCalls()).toEqual([]);
    const images = aws.registries.private(aws.account, aws.region).repositories.get(REPOSITORY);
    const tags = [...(images?.tags.keys() ?? [])];
    expect(tags.filter((tag) => tag.startsWith('default.w-'))).toHaveLength(WORKLOADS);
    expect(tags).toContain('spoke-hub');
  }, 120_000);

  it('comes back', async () => {
    const back = await mural([...args, '--rollback'], { env });
    expect([back.code, back.stdout]).toEqual([
      0,
      expect.stringContaining(`The fleet reads ${embedded}.`) as string,
    ]);
    expect(await registryUrl()).toBe(embedded);
  }, 60_000);

  it('says which permission is missing before anything changes', async () => {
    const policies = [
      JSON.parse(
        JSON.stringify(pushAndPull(aws)).replace('"ecr:InitiateLayerUpload",', ''),
      ) as PolicyDocument,
    ];
    const poor = aws.environment(aws.iam.createUser({ name: 'poor', policies }).accessKey);
    const refused = await mural(args, { env: poor });
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('ecr:InitiateLayerUpload');
    expect(refusedCalls()).toEqual([expect.stringContaining('ecr:InitiateLayerUpload') as string]);
    expect(await registryUrl()).toBe(embedded);
  }, 60_000);
});
