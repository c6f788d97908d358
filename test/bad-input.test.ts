import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { eventually } from '@mural/core/testing';
import {
  CONFIG_MAPS,
  OCI_REPOSITORIES,
  type OCIRepository,
  SECRETS,
  WORKLOAD_DEPLOYMENTS,
  type WorkloadDeployment,
  type WorkloadProfile,
} from '@mural/kube';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  cleanUp,
  condition,
  deploymentReady,
  type Hub,
  mural,
  startHub,
  temporaryFolder,
} from './support/mural.ts';
import {
  apply,
  configMap,
  deployment,
  environment,
  everySpoke,
  manifestsProfile,
} from './support/objects.ts';

describe('bad input', () => {
  let hub: Hub;

  beforeAll(async () => {
    hub = await startHub();
    await apply(hub.client, everySpoke('all'));
  }, 120_000);
  afterAll(cleanUp);

  /** Waits until the deployment says that it is not ready for this reason, and returns the message. */
  async function refused(name: string, reason: string): Promise<string> {
    const last: { deployment?: WorkloadDeployment } = {};
    try {
      return await eventually(async () => {
        last.deployment = await hub.client.get<WorkloadDeployment>(WORKLOAD_DEPLOYMENTS, {
          name,
          namespace: 'default',
        });
        const ready = condition(last.deployment, 'Ready');
        return ready?.status === 'False' && ready.reason === reason && ready.message;
      }, 20_000);
    } catch (error) {
      throw new Error(`no ${reason}: ${JSON.stringify(last.deployment?.status?.conditions)}`, {
        cause: error,
      });
    }
  }

  function profile(name: string, spec: WorkloadProfile['spec']): WorkloadProfile {
    return {
      apiVersion: 'mural.dev/v1alpha1',
      kind: 'WorkloadProfile',
      metadata: { name, namespace: 'default' },
      spec,
    };
  }

  it('in a profile keeps what was published before', async () => {
    await apply(
      hub.client,
      manifestsProfile('kept', configMap('kept', { value: '1' })),
      deployment('kept', 'kept', 'all'),
    );
    const good = await deploymentReady(hub, 'kept');
    await apply(hub.client, manifestsProfile('kept', 'apiVersion: v1\nkind: [ConfigMap\n'));
    const message = await refused('kept', 'RenderFailed');
    expect(message).toMatch(/component "?app"?/);
    expect(message).toMatch(/line [23]|:[23]:/);
    const now = await hub.client.get<WorkloadDeployment>(WORKLOAD_DEPLOYMENTS, {
      name: 'kept',
      namespace: 'default',
    });
    expect(now.status?.spokes?.[0]?.digest).toBe(good.status?.spokes?.[0]?.digest);
    await expect(hub.client.get(CONFIG_MAPS, { name: 'kept', namespace: 'default' })).resolves.toBeDefined();
  });

  it('names the manifest that has no kind', async () => {
    const manifests = `${configMap('fine', { a: '1' })}---\napiVersion: v1\nmetadata:\n  name: kindless\n`;
    await apply(
      hub.client,
      manifestsProfile('kindless', manifests),
      deployment('kindless', 'kindless', 'all'),
    );
    expect(await refused('kindless', 'RenderFailed')).toMatch(/document 2.*kind|kind.*document 2/);
    expect(await hub.client.find(CONFIG_MAPS, { name: 'fine', namespace: 'default' })).toBeUndefined();
  });

  it('names the component type that was meant', async () => {
    await apply(
      hub.client,
      profile('typo', { components: [{ name: 'app', type: 'webservise', properties: { image: 'x' } }] }),
      deployment('typo', 'typo', 'all'),
    );
    expect(await refused('typo', 'ComponentTypeUnknown')).toMatch(/webservise.*webservice/);
  });

  it('names the parameter of the wrong type', async () => {
    await apply(
      hub.client,
      profile('typed', {
        parameters: { type: 'object', properties: { replicas: { type: 'integer' } } },
        components: [
          { name: 'app', type: 'webservice', properties: { image: 'x', replicas: '${params.replicas}' } },
        ],
      }),
      deployment('typed', 'typed', 'all', { parameters: { replicas: 'three' } }),
    );
    expect(await refused('typed', 'ParametersInvalid')).toMatch(/replicas.*integer/);
  });

  it('shows the expression that failed', async () => {
    await apply(
      hub.client,
      profile('expression', {
        components: [{ name: 'app', type: 'webservice', properties: { image: '${params.nope.deeper}' } }],
      }),
      deployment('expression', 'expression', 'all'),
    );
    expect(await refused('expression', 'ExpressionFailed')).toContain('params.nope.deeper');
  });

  it('says that an environment selects no spoke', async () => {
    await apply(
      hub.client,
      environment('nowhere', { region: 'moon' }),
      manifestsProfile('lonely', configMap('lonely', { a: '1' })),
      deployment('lonely', 'lonely', 'nowhere'),
    );
    expect(await refused('lonely', 'NoSpokesSelected')).toContain('nowhere');
  });

  describe('in a source', () => {
    async function source(name: string, spec: Partial<OCIRepository['spec']>): Promise<void> {
      const url = `oci://${new URL(hub.ready.registry).host}/mural/workloads`;
      await apply(hub.client, {
        apiVersion: 'source.toolkit.fluxcd.io/v1',
        kind: 'OCIRepository',
        metadata: { name, namespace: 'default' },
        spec: { url, interval: '1m', timeout: '5s', ref: { tag: 'spoke-hub' }, ...spec },
      } as OCIRepository);
    }
    async function failed(name: string): Promise<{ readonly reason: string; readonly message: string }> {
      return eventually(async () => {
        const object = await hub.client.get<OCIRepository>(OCI_REPOSITORIES, { name, namespace: 'default' });
        return object.status?.conditions?.find((entry) => entry.type === 'Ready' && entry.status === 'False');
      }, 30_000);
    }

    it('a wrong password is AuthenticationFailed', async () => {
      const auths = {
        [new URL(hub.ready.registry).host]: { username: 'spoke-hub', password: 'wrong-password' },
      };
      await hub.client.apply(
        SECRETS,
        {
          apiVersion: 'v1',
          kind: 'Secret',
          metadata: { name: 'wrong', namespace: 'default' },
          type: 'kubernetes.io/dockerconfigjson',
          stringData: { '.dockerconfigjson': JSON.stringify({ auths }) },
        } as never,
        { fieldManager: 'kubectl' },
      );
      const ca = await hub.client.get<never>(SECRETS, {
        name: 'mural-registry-ca',
        namespace: 'mural-system',
      });
      await hub.client.apply(
        SECRETS,
        {
          apiVersion: 'v1',
          kind: 'Secret',
          metadata: { name: 'ca', namespace: 'default' },
          data: (ca as { data: unknown }).data,
        } as never,
        { fieldManager: 'kubectl' },
      );
      await source('wrong', { secretRef: { name: 'wrong' }, certSecretRef: { name: 'ca' } });
      const { reason, message } = await failed('wrong');
      expect(reason).toBe('AuthenticationFailed');
      expect(message).not.toContain('wrong-password');
    });

    it('a tag inside the URL is URLInvalid', async () => {
      await source('tagged', { url: 'oci://127.0.0.1:1/mural/workloads:latest' });
      expect((await failed('tagged')).reason).toBe('URLInvalid');
    });

    it('a registry that is not there is named', async () => {
      await source('away', { url: 'oci://127.0.0.1:1/mural/workloads' });
      const { reason, message } = await failed('away');
      expect(reason).toBe('OCIArtifactPullFailed');
      expect(message).toContain('127.0.0.1:1');
    });
  });

  describe('in values.yaml', () => {
    it.each([
      ['hue:\n  ociregistry:\n    enabled: true\n', 2, 'ociRegistry'],
      ['hue:\n  ociRegistry:\n    endpont: oci://x/y\n', 3, 'endpoint'],
    ])('%j is refused with line %i and the right key', async (text, line, right) => {
      const file = join(await temporaryFolder(), 'values.yaml');
      await writeFile(file, text);
      const { code, stdout, stderr } = await mural(['values', 'lint', file]);
      expect(code).toBe(1);
      expect(`${stdout}${stderr}`).toMatch(new RegExp(`values\\.yaml:${line}:\\d+: error: .*${right}`));
    });

    it('invalid YAML is refused with file and line, and the hub does not start on it', async () => {
      const file = join(await temporaryFolder(), 'values.yaml');
      await writeFile(file, 'hue:\n  ociRegistry: [\n');
      const data = join(await temporaryFolder(), 'hub');
      const { code, stderr } = await mural([
        'up',
        '--data',
        data,
        '--api-port',
        '0',
        '--registry-port',
        '0',
        '--values',
        file,
      ]);
      expect(code).toBe(1);
      expect(stderr).toMatch(/values\.yaml:[23]/);
    });
  });
});
