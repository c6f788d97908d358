import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { eventually } from '@mural/core/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import {
  arrived,
  deploy,
  digestsOf,
  isOpen,
  reading,
  release,
  type SeedFleet,
  startSeedFleet,
  type Tree,
} from '../support/ecr-seed.ts';
import { cleanUp, ROOT, temporaryFolder } from '../support/mural.ts';
import { type Ran, tryRun } from '../support/run.ts';

/** The commands of the guide as they stand there, run by a shell with the real programs. */
describe.each(['private', 'public'] as const)('the guide for ECR %s with kubectl, helm and aws', (kind) => {
  let fleet: SeedFleet;
  let folder: string;
  let env: NodeJS.ProcessEnv;
  const repository = kind === 'private' ? 'team/mural-workloads' : 'mural-workloads';
  const zotOff = { zot: { enabled: false } };

  beforeAll(async () => {
    fleet = await startSeedFleet({ kind, place: 'EKS', roles: 'one role' });
    folder = await temporaryFolder();
    const reader = fleet.aws.iam.createUser({
      name: 'operator',
      policies: [
        {
          Version: '2012-10-17',
          Statement: [{ Effect: 'Allow', Action: ['ecr:*', 'ecr-public:*'], Resource: '*' }],
        },
      ],
    });
    env = {
      ...fleet.aws.environment(reader.accessKey),
      KUBECONFIG: fleet.hub.ready.kubeconfig,
      HOME: folder,
      AWS_PAGER: '',
    };
    await deploy(fleet, 'red');
    await arrived(fleet, 'red');
  });
  afterAll(async () => {
    await cleanUp();
    await fleet.close();
  });

  async function sh(command: string): Promise<Ran> {
    return tryRun('sh', ['-c', command], { cwd: folder, env });
  }

  async function file(name: string, tree: unknown): Promise<void> {
    await writeFile(join(folder, name), stringify(tree), { mode: 0o600 });
  }

  const upgrade = async (values: Tree, more = ''): Promise<void> => {
    await file('values.yaml', values);
    const chart = join(ROOT, 'charts/mural');
    const { code, stderr } = await sh(
      `helm upgrade mural ${chart} --namespace mural-system --values values.yaml --wait ${more}`,
    );
    expect(code, stderr).toBe(0);
  };

  it('applies the HelmRelease', async () => {
    await file('mural-helmrelease.yaml', release(fleet.values()));
    expect(await sh('kubectl apply --filename mural-helmrelease.yaml')).toMatchObject({
      code: 0,
      stdout: 'helmrelease.helm.toolkit.fluxcd.io/mural created\n',
    });
    await reading(fleet, fleet.url);
  });

  it('confirms that the OCIRepository resources are ready', async () => {
    const { code, stdout } = await sh('kubectl get ocirepository --namespace mural-system');
    expect(code).toBe(0);
    const [header, ...rows] = stdout.trim().split('\n');
    expect(header?.split(/\s{2,}/)).toEqual(['NAME', 'URL', 'READY', 'STATUS', 'AGE']);
    expect(rows.length).toBeGreaterThan(1);
    for (const row of rows) expect(row.split(/\s{2,}/).slice(1, 3)).toEqual([fleet.url, 'True']);
  });

  it('finds the pushes in the log of hue', async () => {
    const { code, stdout } = await sh(
      'kubectl logs --namespace mural-system deployment/hue | grep --ignore-case "push\\|oci"',
    );
    expect(code).toBe(0);
    const address = fleet.url.replace('oci://', '');
    const pushed = stdout.split('\n').filter((line) => line.includes('artifact pushed'));
    expect(pushed.filter((line) => line.includes(address)).length).toBeGreaterThan(2);
  });

  it('finds the artifacts in ECR', async () => {
    const command =
      kind === 'private'
        ? `aws ecr describe-images \\\n  --repository-name ${repository} \\\n  --region eu-west-1`
        : `aws ecr-public describe-images \\\n  --repository-name ${repository} \\\n  --region us-east-1`;
    const { code, stdout, stderr } = await sh(command);
    expect(code, stderr).toBe(0);
    const { imageDetails } = JSON.parse(stdout) as { imageDetails: { imageDigest: string }[] };
    const there = imageDetails.map(({ imageDigest }) => imageDigest);
    for (const digest of digestsOf(await reading(fleet, fleet.url))) expect(there).toContain(digest);
  });

  it('removes the default registry by the HelmRelease, and workloads go on', async () => {
    await file('mural-helmrelease.yaml', release(fleet.values(zotOff)));
    expect(await sh('kubectl apply --filename mural-helmrelease.yaml')).toMatchObject({ code: 0 });
    await eventually(async () => !(await isOpen(fleet.hub.ready.registry)), 30_000);
    expect(
      await sh('kubectl wait --for=condition=Ready helmrelease/mural --namespace mural-system --timeout=30s'),
    ).toMatchObject({ code: 0 });
    await deploy(fleet, 'green');
    await arrived(fleet, 'green');
  });

  it('goes the same way with helm alone: back to the default registry, to ECR, and without the default one', async () => {
    expect(await sh('kubectl delete helmrelease mural --namespace mural-system')).toMatchObject({ code: 0 });
    const spokes = [{ name: 'hub-as-spoke' }, { name: 'spoke-1' }];
    await upgrade({ fleetConfig: { spokes } }, '--install');
    await eventually(async () => isOpen(fleet.hub.ready.registry), 30_000);
    const host = new URL(fleet.hub.ready.registry).host;
    await reading(fleet, `oci://${host}/mural/workloads`);
    await upgrade(fleet.values());
    await reading(fleet, fleet.url);
    await upgrade(fleet.values(zotOff));
    await eventually(async () => !(await isOpen(fleet.hub.ready.registry)), 30_000);
    await deploy(fleet, 'blue');
    await arrived(fleet, 'blue');
  });
});

it('npm run demo:ecr runs with the real programs', async () => {
  const node = process.execPath;
  const script = join(ROOT, 'scripts/demo-ecr.ts');
  const { code, stdout, stderr } = await tryRun(node, ['--disable-warning=ExperimentalWarning', script], {
    cwd: ROOT,
    env: { PATH: `${join(ROOT, 'node_modules/.bin')}:${process.env['PATH'] ?? ''}` },
    timeoutMs: 150_000,
  });
  expect(code, `${stdout.slice(-3000)}\n${stderr}`).toBe(0);
  expect(stdout).not.toContain('stand-ins');
  expect(stdout).toMatch(/\d+ checks passed in/);
});
