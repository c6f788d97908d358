import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, FakeClock } from '@mural/core/testing';
import { configMap, TestServer } from './testing/server.ts';
import type { Reply } from './testing/server.ts';

const RBAC = '/apis/rbac.authorization.k8s.io/v1';
const API = 'rbac.authorization.k8s.io/v1';
const CORE = '/api/v1/namespaces/default';

let server: TestServer;
beforeAll(async () => {
  server = await TestServer.start();
});
afterAll(() => server.close());

async function grant(
  name: string,
  rules: readonly object[],
  subject: object,
  namespace?: string,
): Promise<void> {
  const scope = namespace === undefined ? '' : `/namespaces/${namespace}`;
  const [role, binding] =
    namespace === undefined ? ['ClusterRole', 'ClusterRoleBinding'] : ['Role', 'RoleBinding'];
  const lower = (kind: string): string => `${kind.toLowerCase()}s`;
  await server.post(`${RBAC}${scope}/${lower(role)}`, {
    apiVersion: API,
    kind: role,
    metadata: { name },
    rules,
  });
  await server.post(`${RBAC}${scope}/${lower(binding)}`, {
    apiVersion: API,
    kind: binding,
    metadata: { name },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: role, name },
    subjects: [subject],
  });
}

describe('who is who', () => {
  it('lets anybody see health and version, and nobody else see anything', async () => {
    const anonymous = { headers: { authorization: '' } };
    for (const path of ['/healthz', '/livez', '/readyz', '/version']) {
      expect((await server.send('GET', path, anonymous)).status).toBe(200);
    }
    const refused = await server.send('GET', '/api/v1/namespaces', anonymous);
    expect([refused.status, refused.body.reason]).toEqual([403, 'Forbidden']);
    expect(refused.body.message).toBe(
      'namespaces is forbidden: User "system:anonymous" cannot list resource "namespaces" in API group "" at the cluster scope',
    );
  });

  it('refuses credentials that are not good', async () => {
    for (const authorization of ['Bearer nobody', 'Basic YWRtaW46YWRtaW4=', 'Bearer a.b.c']) {
      const reply = await server.send('GET', '/version', { headers: { authorization } });
      expect([reply.status, reply.body.reason]).toEqual([401, 'Unauthorized']);
    }
  });

  it('carries requests out as somebody else only for those who may impersonate', async () => {
    const as = (token: string, path: string): Promise<Reply> =>
      server.send('GET', path, { token, headers: { 'impersonate-user': 'bob', 'impersonate-group': 'ops' } });
    const admin = await as('admin-token', '/api/v1/secrets');
    expect(admin.body.message).toContain('User "bob" cannot list resource "secrets"');
    const alice = await as('alice-token', '/version');
    expect(alice.body.message).toContain('User "alice" cannot impersonate resource "users"');
  });
});

describe('who may what', () => {
  beforeAll(async () => {
    const alice = { kind: 'User', name: 'alice', apiGroup: 'rbac.authorization.k8s.io' };
    const developers = { kind: 'Group', name: 'developers', apiGroup: 'rbac.authorization.k8s.io' };
    await grant(
      'reader',
      [{ apiGroups: [''], resources: ['configmaps'], verbs: ['get', 'list'] }],
      alice,
      'default',
    );
    await grant('pods', [{ apiGroups: [''], resources: ['pods', 'pods/log'], verbs: ['*'] }], developers);
    await grant(
      'one-node',
      [
        { apiGroups: [''], resources: ['nodes'], resourceNames: ['mine'], verbs: ['get', 'list', 'watch'] },
        { apiGroups: [''], resources: ['nodes/status'], resourceNames: ['mine'], verbs: ['patch'] },
      ],
      alice,
    );
    await grant(
      'role-writer',
      [
        {
          apiGroups: ['rbac.authorization.k8s.io'],
          resources: ['roles', 'rolebindings'],
          verbs: ['create', 'update'],
        },
      ],
      alice,
      'default',
    );
    await server.post('/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata: { name: 'mine' } });
    await server.post(`${CORE}/configmaps`, configMap('seen'));
  });

  it.each([
    ['GET', `${CORE}/configmaps`, 200],
    ['GET', `${CORE}/configmaps/seen`, 200],
    ['GET', `${CORE}/configmaps?watch=true`, 403],
    ['DELETE', `${CORE}/configmaps/seen`, 403],
    ['GET', '/api/v1/configmaps', 403],
    ['GET', '/api/v1/namespaces/kube-system/configmaps', 403],
    ['GET', `${CORE}/secrets`, 403],
    ['GET', '/api/v1/pods', 200],
    ['DELETE', `${CORE}/pods/none`, 404],
    ['GET', `${CORE}/pods/none/log`, 404],
    ['GET', '/api/v1/nodes/mine', 200],
    ['GET', '/api/v1/nodes/other', 403],
    ['GET', '/api/v1/nodes', 403],
    ['GET', '/api/v1/nodes?fieldSelector=metadata.name%3Dmine', 200],
    ['GET', '/api/v1/nodes?fieldSelector=metadata.name%3Dother', 403],
    ['PATCH', '/api/v1/nodes/mine/status', 200],
    ['PATCH', '/api/v1/nodes/mine', 403],
    ['GET', '/apis', 200],
    ['GET', '/metrics', 403],
  ])('%s %s: %i', async (method, path, status) => {
    const patch = method === 'PATCH' ? { body: { status: {} }, type: 'application/merge-patch+json' } : {};
    const reply = await server.send(method, path, { token: 'alice-token', ...patch });
    expect(reply.status).toBe(status);
  });

  it('refuses roles that grant more than their writer holds', async () => {
    const role = (name: string, resource: string): object => ({
      apiVersion: API,
      kind: 'Role',
      metadata: { name },
      rules: [{ apiGroups: [''], resources: [resource], verbs: ['get'] }],
    });
    const path = `${RBAC}/namespaces/default/roles`;
    expect((await server.post(path, role('held', 'configmaps'), 'alice-token')).status).toBe(201);
    const refused = await server.post(path, role('more', 'secrets'), 'alice-token');
    expect(refused.status).toBe(403);
    expect(refused.body.message).toBe(
      'roles.rbac.authorization.k8s.io "more" is forbidden: user "alice" (groups=["developers" "system:authenticated"]) ' +
        'is attempting to grant RBAC permissions not currently held:\n{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}',
    );
    const binding = await server.post(
      `${RBAC}/namespaces/default/rolebindings`,
      {
        apiVersion: API,
        kind: 'RoleBinding',
        metadata: { name: 'up' },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
        subjects: [{ kind: 'User', name: 'alice', apiGroup: 'rbac.authorization.k8s.io' }],
      },
      'alice-token',
    );
    expect(binding.status).toBe(403);
  });

  it('adds to the roles of users what roles with their labels say', async () => {
    const labels = { 'rbac.authorization.k8s.io/aggregate-to-view': 'true' };
    const rules = [{ apiGroups: ['example.com'], resources: ['widgets'], verbs: ['get'] }];
    await server.post(`${RBAC}/clusterroles`, {
      apiVersion: API,
      kind: 'ClusterRole',
      metadata: { name: 'w', labels },
      rules,
    });
    for (const name of ['view', 'edit', 'admin']) {
      await eventually(async () => {
        const { body } = await server.get(`${RBAC}/clusterroles/${name}`);
        return JSON.stringify(body.rules).includes('example.com');
      });
    }
  });

  it('answers access reviews', async () => {
    const review = async (attributes: object): Promise<boolean> => {
      const body = {
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SelfSubjectAccessReview',
        spec: { resourceAttributes: attributes },
      };
      const path = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
      return (await server.post(path, body, 'alice-token')).body.status.allowed as boolean;
    };
    expect(await review({ verb: 'list', resource: 'configmaps', namespace: 'default' })).toBe(true);
    expect(await review({ verb: 'list', resource: 'secrets', namespace: 'default' })).toBe(false);
  });

  it('takes a grant back at once', async () => {
    await server.delete(`${RBAC}/namespaces/default/rolebindings/reader`);
    expect((await server.get(`${CORE}/configmaps`, 'alice-token')).status).toBe(403);
  });
});

describe('service accounts', () => {
  const clock = new FakeClock(Date.UTC(2026, 5, 1));
  let own: TestServer;
  beforeAll(async () => {
    own = await TestServer.start({ clock });
    await own.post(`${CORE}/serviceaccounts`, {
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: 'robot' },
    });
  });
  afterAll(() => own.close());

  async function whoami(token: string): Promise<Reply> {
    const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' };
    return await own.post('/apis/authentication.k8s.io/v1/selfsubjectreviews', body, token);
  }

  it('have tokens that expire', async () => {
    const body = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: { expirationSeconds: 600 },
    };
    const reply = await own.post(`${CORE}/serviceaccounts/robot/token`, body);
    expect(reply.body.status.expirationTimestamp).toBe('2026-06-01T00:10:00Z');
    const token = reply.body.status.token as string;
    expect((await whoami(token)).body.status.userInfo).toMatchObject({
      username: 'system:serviceaccount:default:robot',
      groups: ['system:serviceaccounts', 'system:serviceaccounts:default', 'system:authenticated'],
    });
    const tampered = `${token.slice(0, -4)}AAAA`;
    expect((await whoami(tampered)).status).toBe(401);
    await clock.advance(601_000);
    expect((await whoami(token)).status).toBe(401);
  });

  it('have token Secrets that are filled, and revoked with the Secret or the account', async () => {
    const secret = (name: string): object => ({
      apiVersion: 'v1',
      kind: 'Secret',
      type: 'kubernetes.io/service-account-token',
      metadata: { name, annotations: { 'kubernetes.io/service-account.name': 'robot' } },
    });
    const filled = async (name: string): Promise<string> => {
      await own.post(`${CORE}/secrets`, secret(name));
      const data = await eventually(
        async () =>
          (await own.get(`${CORE}/secrets/${name}`)).body.data?.token &&
          (await own.get(`${CORE}/secrets/${name}`)).body.data,
      );
      expect(Buffer.from(data.namespace, 'base64').toString()).toBe('default');
      expect(Buffer.from(data['ca.crt'], 'base64').toString()).toContain('BEGIN CERTIFICATE');
      return Buffer.from(data.token, 'base64').toString();
    };
    const first = await filled('robot-1');
    const second = await filled('robot-2');
    expect((await whoami(first)).status).toBe(201);
    await own.restart();
    expect((await whoami(first)).status).toBe(201);
    await own.delete(`${CORE}/secrets/robot-1`);
    expect((await whoami(first)).status).toBe(401);
    expect((await whoami(second)).status).toBe(201);
    await own.delete(`${CORE}/serviceaccounts/robot`);
    expect((await whoami(second)).status).toBe(401);
    await eventually(async () => (await own.get(`${CORE}/secrets/robot-2`)).status === 404);
  });

  it('are there from the start, with the certificate to trust', async () => {
    await eventually(async () => (await own.get(`${CORE}/serviceaccounts/default`)).status === 200);
    const map = await own.get(`${CORE}/configmaps/kube-root-ca.crt`);
    expect(map.body.data['ca.crt']).toContain('BEGIN CERTIFICATE');
  });
});
