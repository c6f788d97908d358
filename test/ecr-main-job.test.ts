import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { eventually } from '@mural/core/testing';
import {
  CONFIG_MAPS,
  KUSTOMIZATIONS,
  OCI_REPOSITORIES,
  type OCIRepository,
  type UnstructuredObject,
  WORKLOAD_DEPLOYMENTS,
  type WorkloadProfile,
} from '@mural/kube';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Aws, startAws } from './fixtures/ecr/index.ts';
import { type EcrFleet, ecrFleet, mostWithinASecond, SPOKE_NAMES } from './support/ecr-fleet.ts';
import {
  cleanUp,
  deploymentReady,
  type Hub,
  mural,
  ROOT,
  type SpokeProcess,
  startHub,
  startSpoke,
} from './support/mural.ts';
import { apply, configMap, deployment, manifestsProfile, objectsOf } from './support/objects.ts';

/** A profile with an object that has the color, and one that stays as it is. */
function colored(color: string): WorkloadProfile {
  const object = (name: string, value: string) => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, namespace: 'default' },
    data: { color: value },
  });
  const objects = [object('changes', '${params.color}'), object('stays', 'black')];
  return {
    apiVersion: 'mural.dev/v1alpha1',
    kind: 'WorkloadProfile',
    metadata: { name: 'two', namespace: 'default' },
    spec: {
      parameters: { type: 'object', properties: { color: { type: 'string', default: color } } },
      components: [{ name: 'app', type: 'manifests', properties: { objects } }],
    },
  };
}

describe.each(['private', 'public'] as const)(
  'the main job through ECR %s with the printed policies',
  (kind) => {
    const service = kind === 'private' ? 'ecr' : 'ecr-public';
    let aws: Aws;
    let fleet: EcrFleet;
    let hub: Hub;
    let spokes: SpokeProcess[];

    beforeAll(async () => {
      aws = await startAws();
      fleet = await ecrFleet(aws, kind);
      hub = await startHub({ args: ['--values', fleet.values], env: aws.environment(fleet.hub) });
      spokes = await Promise.all(
        SPOKE_NAMES.map(async (name) => startSpoke(hub, name, { env: aws.environment(fleet.spokes[name]) })),
      );
    }, 60_000);
    afterAll(async () => {
      await cleanUp();
      await aws.close();
    });

    const ref = (name: string) => ({ name, namespace: 'default' });
    const colors = async (name: string) =>
      Promise.all(
        spokes.map(async ({ client }) => {
          const object = await client.find<UnstructuredObject>(CONFIG_MAPS, ref(name));
          return (object?.['data'] as { color?: string } | undefined)?.color;
        }),
      );

    it('brings the example of the quickstart to three spokes', async () => {
      const example = objectsOf(await readFile(join(ROOT, 'examples/quickstart/workload.yaml'), 'utf8'));
      const target = example.find((object) => object.kind === 'WorkloadDeployment');
      await apply(hub.client, ...example);
      const ready = await deploymentReady(hub, target?.metadata.name ?? '', {
        namespace: target?.metadata.namespace ?? 'default',
      });
      expect(ready.status?.summary).toBe('3/3');
      for (const { client } of spokes) {
        const sources = await client.list<OCIRepository>(OCI_REPOSITORIES, { namespace: 'mural-system' });
        expect(sources.items.length).toBeGreaterThan(2);
        for (const { spec, status } of sources.items) {
          expect(spec).toMatchObject({ url: `oci://${fleet.repository}`, provider: 'aws' });
          expect(status?.artifact?.revision).toMatch(/sha256:[0-9a-f]{64}$/);
        }
      }
    }, 60_000);

    it('delivers with an override, changes what changed, puts drift right, and prunes', async () => {
      const overrides = [{ spokes: ['edge-3'], parameters: { color: 'gold' } }];
      await apply(hub.client, colored('red'), deployment('two', 'two', 'everywhere', { overrides }));
      await deploymentReady(hub, 'two');
      expect(await colors('changes')).toEqual(['red', 'red', 'gold']);
      await apply(hub.client, colored('blue'));
      await eventually(async () => (await colors('changes')).join() === 'blue,blue,gold', 30_000);

      const [edge] = spokes;
      const pink = { data: { color: 'pink' } };
      await edge?.client.patch(CONFIG_MAPS, ref('changes'), 'merge', pink, { fieldManager: 'someone' });
      const requested = { metadata: { annotations: { 'reconcile.fluxcd.io/requestedAt': 'now' } } };
      const kustomization = { name: 'default.two', namespace: 'mural-system' };
      await edge?.client.patch(KUSTOMIZATIONS, kustomization, 'merge', requested);
      await eventually(async () => (await colors('changes'))[0] === 'blue');

      await hub.client.delete(WORKLOAD_DEPLOYMENTS, ref('two'));
      await eventually(async () => (await colors('changes')).every((color) => color === undefined), 30_000);
      await eventually(async () => (await hub.client.find(WORKLOAD_DEPLOYMENTS, ref('two'))) === undefined);
    }, 90_000);

    it('puts images slower than ECR allows, and none of its calls was refused', async () => {
      const texts = Array.from({ length: 12 }, (_, index) => `burst-${index}`);
      for (const name of texts) {
        await apply(
          hub.client,
          manifestsProfile(name, configMap(name, { color: 'red' })),
          deployment(name, name, 'everywhere'),
        );
      }
      for (const name of texts) await deploymentReady(hub, name);
      const put = `${service}:PutImage`;
      const puts = aws.calls.filter(({ action }) => action === put);
      expect(puts.length).toBeGreaterThan(20);
      expect(mostWithinASecond(aws.calls, put)).toBeLessThanOrEqual(10);
      const refused = aws.calls.filter(({ result }) => result === 'AccessDeniedException');
      expect(refused).toEqual([]);
      expect(puts.filter(({ result }) => result === 'ThrottlingException')).toEqual([]);
    }, 60_000);

    it('writes as hue alone, and reads on each spoke as its own identity', async () => {
      const by = (role: string) =>
        aws.calls.filter(({ principal }) => principal?.includes(`/${role}/`) === true);
      const writes = /:(?:InitiateLayerUpload|UploadLayerPart|CompleteLayerUpload|PutImage)$/;
      expect(by('mural-hue').some(({ action }) => writes.test(action))).toBe(true);
      for (const role of ['mural-source', 'mural-node']) {
        expect(by(role).some(({ action }) => action === `${service}:BatchGetImage`)).toBe(true);
        expect(by(role).filter(({ action }) => writes.test(action))).toEqual([]);
      }
      const tokens = aws.calls.filter(
        ({ action, plane }) => plane === 'api' && action.endsWith(':GetAuthorizationToken'),
      );
      expect(tokens).toHaveLength(1 + SPOKE_NAMES.length);
      expect(aws.refusedHosts).toEqual([]);
      const log = await readFile(join(hub.data, 'logs', 'hue.log'), 'utf8');
      expect(log).toContain('oci push: artifact pushed');
    });

    it('passes its own preflight, as hue and as a spoke', async () => {
      const [edge] = SPOKE_NAMES;
      for (const [role, who] of [
        ['push', fleet.hub],
        ['pull', fleet.spokes[edge]],
      ] as const) {
        const ran = await mural(['ecr', 'preflight', '--values', fleet.values, '--role', role], {
          env: { ...aws.environment(who), HOME: hub.data },
        });
        expect(ran).toMatchObject({
          code: 0,
          stdout: expect.not.stringMatching(/^(?:fail|warn {2}identity)/m),
        });
      }
    });
  },
);
