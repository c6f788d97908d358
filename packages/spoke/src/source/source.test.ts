import { eventually } from '@mural/core/testing';
import { KubeError, type KubeObject, OCI_REPOSITORIES, type OCIRepository } from '@mural/kube';
import { TEST_TLS } from '@mural/oci/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { conditionOf, NAMESPACE } from '../testing/bed.ts';
import { REPOSITORY, SourceBed } from '../testing/source-bed.ts';

let bed: SourceBed;
beforeEach(async () => {
  bed = await SourceBed.create();
});
afterEach(async () => bed.close());

function secret(name: string, data: Readonly<Record<string, string>>): KubeObject {
  const encoded = Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString('base64')]);
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name, namespace: NAMESPACE },
    data: Object.fromEntries(encoded),
  } as KubeObject;
}

function dockerConfig(host: string, username: string, password: string): Record<string, string> {
  return { '.dockerconfigjson': JSON.stringify({ auths: { [host]: { username, password } } }) };
}

const one = { 'a.yaml': 'a: 1\n' };
const two = { 'a.yaml': 'a: 2\n' };

describe('a source by tag', () => {
  it('pulls what the tag holds, by digest, and says so as Flux does', async () => {
    const annotations = {
      'org.opencontainers.image.source': 'https://git.test/x',
      'org.opencontainers.image.revision': 'main@sha1:abc',
    };
    const digest = await bed.push(one, 'v1', annotations);
    await bed.create({ ref: { tag: 'v1' } });
    bed.start();
    const source = await bed.reason('Succeeded');
    const revision = `v1@${digest}`;
    const message = `stored artifact for digest '${revision}'`;
    expect(conditionOf(source, 'Ready')).toMatchObject({ status: 'True', message, observedGeneration: 1 });
    expect(conditionOf(source, 'ArtifactInStorage')).toMatchObject({ status: 'True', message });
    expect(source.status).toMatchObject({
      observedGeneration: 1,
      artifact: { revision, metadata: annotations, lastUpdateTime: '2026-01-01T00:00:00Z' },
    });
    expect(source.status?.artifact?.path).toMatch(/^ocirepository\/apps\/source\/[0-9a-f]{64}\.tar\.gz$/);
    expect(source.status?.url).toBe(source.status?.artifact?.url);
    expect(source.metadata.finalizers).toEqual(['finalizers.fluxcd.io']);
    expect(await bed.stored(source)).toEqual(['a.yaml']);
    expect(bed.requests().filter((line) => line.includes('/manifests/'))).toEqual([
      `HEAD /v2/${REPOSITORY}/manifests/v1`,
      `GET /v2/${REPOSITORY}/manifests/${digest}`,
    ]);
    expect(await bed.events()).toEqual([
      {
        type: 'Normal',
        reason: 'NewArtifact',
        message: `stored artifact with revision '${revision}' from 'oci://${bed.registry.host}/${REPOSITORY}', origin source 'https://git.test/x', origin revision 'main@sha1:abc'`,
        annotations: {
          'source.toolkit.fluxcd.io/revision': revision,
          'source.toolkit.fluxcd.io/digest': source.status?.artifact?.digest,
        },
      },
    ]);
  });

  it('means latest when there is no reference', async () => {
    const digest = await bed.push(one, 'latest');
    await bed.create();
    bed.start();
    expect((await bed.reason('Succeeded')).status?.artifact?.revision).toBe(`latest@${digest}`);
  });

  it('costs one HEAD for each reconcile while the tag stays', async () => {
    await bed.push(one, 'v1');
    await bed.create({ ref: { tag: 'v1' } });
    bed.start();
    await bed.reason('Succeeded');
    bed.requests();
    await bed.reconcile();
    expect(bed.requests()).toEqual([`HEAD /v2/${REPOSITORY}/manifests/v1`]);
    await bed.clock.advance(600_000);
    await eventually(() => bed.registry.requests.length > 0);
    expect(bed.requests()).toEqual([`HEAD /v2/${REPOSITORY}/manifests/v1`]);
    expect(await bed.events()).toHaveLength(1);
  });

  it('follows the tag at the interval, keeps the artifact before for those who read it, and no more', async () => {
    await bed.push(one, 'v1');
    await bed.create({ ref: { tag: 'v1' } });
    bed.start();
    await bed.reason('Succeeded');
    for (const text of ['2', '3', '4']) {
      const digest = await bed.push({ 'a.yaml': `a: ${text}\n` }, 'v1');
      await bed.clock.advance(600_000);
      await bed.until(({ status }) => status?.artifact?.revision === `v1@${digest}`);
    }
    const current = bed.get()?.status?.artifact?.path.split('/').at(-1);
    const files = await bed.files();
    expect(files).toHaveLength(2);
    expect(files).toContain(current);
  });

  it.each([
    [0, 570_000],
    [1, 630_000],
  ])('spreads the interval by five per cent: at %d it is %d ms', async (random, interval) => {
    bed.random = random;
    await bed.push(one, 'v1');
    await bed.create({ ref: { tag: 'v1' } });
    bed.start();
    await bed.reason('Succeeded');
    bed.requests();
    await bed.clock.advance(interval - 1000);
    expect(bed.requests()).toEqual([]);
    await bed.clock.advance(1001);
    await eventually(() => bed.registry.requests.length === 1);
  });

  it('is fetched at once when somebody asks, and the token is echoed', async () => {
    await bed.push(one, 'v1');
    await bed.create({ ref: { tag: 'v1' } });
    bed.start();
    await bed.reason('Succeeded');
    const digest = await bed.push(two, 'v1');
    const source = await bed.reconcile('now');
    expect(source.status).toMatchObject({
      lastHandledReconcileAt: 'now',
      artifact: { revision: `v1@${digest}` },
    });
  });

  it('asks nothing while suspended, and goes on when resumed', async () => {
    await bed.push(one, 'v1');
    await bed.create({ ref: { tag: 'v1' }, suspend: true });
    bed.start();
    await bed.clock.advance(10_000_000);
    expect(bed.requests()).toEqual([]);
    await bed.change({ suspend: false });
    await bed.reason('Succeeded');
  });

  it('is looked up anew when the reference changes', async () => {
    await bed.push(one, 'v1');
    const digest = await bed.push(two, 'v2');
    await bed.create({ ref: { tag: 'v1' } });
    bed.start();
    await bed.reason('Succeeded');
    await bed.change({ ref: { tag: 'v2' } });
    await bed.until(({ status }) => status?.artifact?.revision === `v2@${digest}`);
  });
});

describe('a source by digest', () => {
  it('makes no call at all once it is stored, not even after a restart', async () => {
    const digest = await bed.push(one);
    await bed.create({ ref: { digest, tag: 'ignored' } });
    bed.start();
    const source = await bed.reason('Succeeded');
    expect(source.status?.artifact?.revision).toBe(digest);
    bed.requests();
    await bed.reconcile();
    await bed.halt();
    bed.start();
    await bed.reconcile();
    await bed.clock.advance(600_000);
    expect(bed.requests()).toEqual([]);
  });

  it('that is none stalls', async () => {
    await bed.create({ ref: { digest: 'sha256:123' } });
    bed.start();
    const source = await bed.reason('URLInvalid');
    expect(conditionOf(source, 'Stalled')?.message).toContain(`'sha256:123' is not a digest`);
  });
});

describe('a source by version', () => {
  it('takes the greatest tag in the range', async () => {
    await bed.push(one, '1.2.0');
    const digest = await bed.push(two, '1.10.1');
    for (const tag of ['2.0.0', '1.11.0-rc.1', 'latest', 'main-1.9']) await bed.push(one, tag);
    await bed.create({ ref: { semver: '1.x' } });
    bed.start();
    expect((await bed.reason('Succeeded')).status?.artifact?.revision).toBe(`1.10.1@${digest}`);
  });

  it('takes only tags that the filter lets through', async () => {
    await bed.push(one, '1.10.1');
    const digest = await bed.push(two, '1.2.0-prod');
    await bed.create({ ref: { semver: '>=1.0.0-0', semverFilter: '.*-prod$' } });
    bed.start();
    expect((await bed.reason('Succeeded')).status?.artifact?.revision).toBe(`1.2.0-prod@${digest}`);
  });

  it('says when no tag fits', async () => {
    await bed.push(one, '1.0.0');
    await bed.create({ ref: { semver: '>=2' } });
    bed.start();
    const source = await bed.reason('ReadOperationFailed');
    expect(conditionOf(source, 'FetchFailed')?.message).toContain('no match found for semver: >=2');
  });

  it.each([[{ semver: 'nonsense' }], [{ semver: '1.x', semverFilter: '(' }]])(
    'stalls for %j',
    async (ref) => {
      await bed.create({ ref });
      bed.start();
      const source = await bed.reason('ReadOperationFailed');
      expect(conditionOf(source, 'Stalled')?.status).toBe('True');
      expect(bed.requests()).toEqual([]);
    },
  );
});

describe('what cannot be right stalls', () => {
  it.each([
    ['a tag in the URL', { url: 'oci://registry.test/a/b:v1' }, 'URLInvalid'],
    ['no repository', { url: 'oci://registry.test' }, 'URLInvalid'],
    ['another protocol', { url: 'https://registry.test/a' }, 'URLInvalid'],
    ['a signature to verify', { verify: { provider: 'cosign' } }, 'VerificationError'],
    ['a proxy', { proxySecretRef: { name: 'x' } }, 'AuthenticationFailed'],
    ['credentials of a cloud', { provider: 'aws' }, 'AuthenticationFailed'],
    ['a field that is not known', { something: 1 }, 'InvalidSpec'],
  ] as const)('%s', async (_name, spec, reason) => {
    await bed.create(spec as never);
    bed.start();
    const source = await bed.reason(reason);
    expect(conditionOf(source, 'Ready')?.status).toBe('False');
    expect(conditionOf(source, 'Stalled')).toMatchObject({ status: 'True', reason });
    expect(conditionOf(source, 'Reconciling')).toBeUndefined();
    expect(source.status?.observedGeneration).toBe(1);
    expect(await bed.events()).toMatchObject([{ type: 'Warning', reason }]);
    await bed.clock.advance(10_000_000);
    expect(bed.requests()).toEqual([]);
  });

  it('until the spec is put right', async () => {
    await bed.push(one, 'v1');
    await bed.create({ ref: { tag: 'v1' }, verify: { provider: 'cosign' } });
    bed.start();
    const refused = await bed.reason('VerificationError');
    expect(conditionOf(refused, 'SourceVerified')?.status).toBe('False');
    await bed.change({ verify: null });
    const source = await bed.reason('Succeeded');
    expect(conditionOf(source, 'Stalled')).toBeUndefined();
    expect(conditionOf(source, 'SourceVerified')).toBeUndefined();
    expect((await bed.events()).map(({ reason }) => reason)).toEqual(['VerificationError', 'NewArtifact']);
  });
});

describe('credentials', () => {
  it('come from secretRef, and a wrong password is told without being shown', async () => {
    bed.registry.credential = { username: 'reader', password: 'right-password' };
    await bed.push(one, 'v1');
    bed.api.seed(secret('creds', dockerConfig(bed.registry.host, 'reader', 'wrong-password')));
    await bed.create({ ref: { tag: 'v1' }, secretRef: { name: 'creds' } });
    bed.start();
    const refused = await bed.reason('AuthenticationFailed');
    expect(conditionOf(refused, 'FetchFailed')?.status).toBe('True');
    const told = JSON.stringify([refused, await bed.events()]);
    expect(told).not.toContain('wrong-password');
    expect(told).not.toContain(Buffer.from('reader:wrong-password').toString('base64'));
    bed.api.seed(secret('creds', dockerConfig(bed.registry.host, 'reader', 'right-password')));
    await bed.clock.advance(5000);
    await bed.reason('Succeeded');
    expect((await bed.events()).at(-1)?.reason).toBe('NewArtifact');
  });

  it('come from the pull secrets of a service account', async () => {
    bed.registry.credential = { username: 'reader', password: 'pw' };
    await bed.push(one, 'v1');
    bed.api.seed(secret('creds', dockerConfig(bed.registry.host, 'reader', 'pw')), {
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: 'puller', namespace: NAMESPACE },
      imagePullSecrets: [{ name: 'creds' }],
    } as KubeObject);
    await bed.create({ ref: { tag: 'v1' }, serviceAccountName: 'puller' });
    bed.start();
    await bed.reason('Succeeded');
  });

  it.each([
    ['a Secret that is missing', { secretRef: { name: 'none' } }, 'secrets "none" not found'],
    ['a Secret without a docker config', { secretRef: { name: 'empty' } }, `has no key '.dockerconfigjson'`],
    ['a service account that is missing', { serviceAccountName: 'none' }, 'serviceaccounts "none" not found'],
    ['a CA that is missing', { certSecretRef: { name: 'empty' } }, `has no key 'ca.crt'`],
    ['a CA that is none', { certSecretRef: { name: 'bad' } }, ''],
  ])('%s is told', async (_name, spec, message) => {
    bed.api.seed(secret('empty', { other: 'x' }), secret('bad', { 'ca.crt': 'not a certificate' }));
    await bed.push(one, 'v1');
    await bed.create({ ref: { tag: 'v1' }, insecure: false, ...spec });
    bed.start();
    const source = await bed.reason('AuthenticationFailed');
    expect(conditionOf(source, 'Ready')?.message).toContain(message);
  });

  it('that the API does not let be read are a failure to authenticate', async () => {
    bed.api.intercept = ({ resource }) => {
      if (resource.kind === 'Secret') throw new KubeError('Forbidden', 'secrets "creds" is forbidden');
    };
    await bed.create({ secretRef: { name: 'creds' } });
    bed.start();
    const source = await bed.reason('AuthenticationFailed');
    expect(conditionOf(source, 'Ready')?.message).toBe(
      'failed to get credential: secrets "creds" is forbidden',
    );
  });

  it('of one secret that many sources share are read once', async () => {
    bed.registry.credential = { username: 'reader', password: 'pw' };
    await bed.push(one, 'v1');
    bed.api.seed(secret('creds', dockerConfig(bed.registry.host, 'reader', 'pw')));
    await bed.create({ ref: { tag: 'v1' }, secretRef: { name: 'creds' } });
    for (const name of ['b', 'c', 'd']) {
      const spec = { ...bed.get()?.spec };
      const metadata = { name, namespace: NAMESPACE };
      await bed.api.create(OCI_REPOSITORIES, { ...bed.get(), metadata, spec } as OCIRepository);
    }
    bed.start();
    await eventually(() =>
      bed.api.stored(OCI_REPOSITORIES).every((source) => conditionOf(source, 'Ready')?.status === 'True'),
    );
    const reads = bed.api.calls.filter(({ verb, resource }) => verb === 'get' && resource.kind === 'Secret');
    expect(reads).toHaveLength(1);
  });
});

describe('a registry with a certificate of its own', () => {
  it('is trusted by certSecretRef and refused without', async () => {
    await bed.close();
    bed = await SourceBed.create({ tls: { cert: TEST_TLS.cert, key: TEST_TLS.key } });
    await bed.push(one, 'v1');
    await bed.create({ ref: { tag: 'v1' }, insecure: false });
    bed.start();
    const refused = await bed.reason('OCIArtifactPullFailed');
    expect(conditionOf(refused, 'Ready')?.message).toMatch(/certificate/i);
    bed.api.seed(secret('ca', { 'ca.crt': TEST_TLS.ca }));
    await bed.change({ certSecretRef: { name: 'ca' } });
    await bed.reason('Succeeded');
  });
});
