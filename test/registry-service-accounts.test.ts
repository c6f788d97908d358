import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import { type RunningApiServer, startApiServer } from '@mural/apiserver';
import { RegistryClient } from '@mural/oci';
import { type RegistryOptions, type RunningRegistry, startRegistry } from '@mural/registry';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { selfSigned } from '../packages/registry/src/fixture-certificate.ts';
import { cleanUp, temporaryFolder } from './support/mural.ts';

const AUDIENCE = 'registry.example';
const pair = selfSigned();

describe('a service account of the embedded API at the registry', () => {
  let api: RunningApiServer;
  let registry: RunningRegistry;
  let folder: string;
  const admin = randomBytes(16).toString('hex');

  beforeAll(async () => {
    folder = await temporaryFolder();
    api = await startApiServer({
      ...{ dataDir: join(folder, 'api'), port: 0, tls: pair, ca: pair.cert, encryptionKey: randomBytes(32) },
      tokens: [{ token: admin, user: 'admin', groups: ['system:masters'] }],
    });
    await post('/api/v1/namespaces', { metadata: { name: 'team' } });
    for (const name of ['puller', 'registry']) {
      await post('/api/v1/namespaces/team/serviceaccounts', { metadata: { name } });
    }
    // As a Pod would have it: the API shows its keys to service accounts.
    await writeFile(join(folder, 'token'), await tokenOf('registry', []));
    registry = await start({ token: {} });
  });
  afterAll(async () => {
    await registry.close();
    await api.close();
    await cleanUp();
  });

  function start(more: Partial<RegistryOptions>): Promise<RunningRegistry> {
    return startRegistry({
      ...{ dataDir: join(folder, `registry-${Object.keys(more).join('-')}`), port: 0, tls: pair, ...more },
      oidc: [
        {
          name: 'cluster',
          issuer: 'https://kubernetes.default.svc.cluster.local',
          audiences: [AUDIENCE],
          jwksUri: `${api.url}/openid/v1/jwks`,
          ca: pair.cert,
          tokenFile: join(folder, 'token'),
          rules: [
            {
              subject: 'system:serviceaccount:team:puller',
              policies: [{ repositories: 'team/**', actions: ['read', 'create'] }],
            },
          ],
        },
      ],
    });
  }

  function post(path: string, body: object): Promise<Record<string, unknown>> {
    const headers = { authorization: `Bearer ${admin}`, 'content-type': 'application/json' };
    return new Promise((resolve, reject) => {
      const sent = request(`${api.url}${path}`, { method: 'POST', headers, ca: pair.cert }, (answer) => {
        let text = '';
        answer.on('data', (chunk: Buffer) => (text += chunk.toString()));
        answer.on('end', () => resolve(JSON.parse(text) as Record<string, unknown>));
      });
      sent.on('error', reject);
      sent.end(JSON.stringify(body));
    });
  }

  async function tokenOf(account: string, audiences: readonly string[]): Promise<string> {
    const path = `/api/v1/namespaces/team/serviceaccounts/${account}/token`;
    const made = await post(path, { spec: { audiences, expirationSeconds: 3600 } });
    return (made['status'] as { token: string }).token;
  }

  async function tags(at: RunningRegistry, password: string): Promise<unknown> {
    const credentials = { username: 'serviceaccount', password };
    const client = new RegistryClient({ registry: at.host, credentials, ca: pair.cert });
    try {
      return await client.listTags('team/app');
    } catch (error) {
      return (error as { code: string }).code;
    } finally {
      await client.close();
    }
  }

  it('reads what the rules say, by the token endpoint and without', async () => {
    const basic = await start({});
    try {
      for (const at of [registry, basic]) {
        await at.setUser({
          name: 'writer',
          password: 'writer',
          policies: [{ repositories: '**', actions: ['read', 'create'] }],
        });
        const client = new RegistryClient({
          registry: at.host,
          credentials: { username: 'writer', password: 'writer' },
          ca: pair.cert,
        });
        const mediaType = 'application/vnd.oci.image.index.v1+json';
        const bytes = Buffer.from(`{"schemaVersion":2,"mediaType":"${mediaType}","manifests":[]}`);
        await client.putManifest('team/app', 'v1', bytes, mediaType);
        await client.close();
        expect(await tags(at, await tokenOf('puller', [AUDIENCE]))).toEqual(['v1']);
      }
    } finally {
      await basic.close();
    }
  });

  it('is refused with a token for the API itself, and as another account', async () => {
    expect(await tags(registry, await tokenOf('puller', []))).toBe('AuthenticationFailed');
    expect(await tags(registry, await tokenOf('registry', [AUDIENCE]))).toBe('AuthenticationFailed');
  });
});
