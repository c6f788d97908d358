import 'reflect-metadata';
import { X509Certificate, webcrypto } from 'node:crypto';
import { Agent, request as httpsRequest } from 'node:https';
import { connect, type TLSSocket } from 'node:tls';
import { FakeClock } from '@mural/core/testing';
import * as x509 from '@peculiar/x509';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { RegistryFixture } from '../fixture.ts';
import { selfSigned } from '../fixture-certificate.ts';
import type { RegistryOptions } from '../server.ts';
import { type ClientCertificates, namesOf } from './client-certificates.ts';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const HOUR = 3_600_000;

interface Pair {
  readonly cert: string;
  readonly key: string;
}

/** An authority of a test, which issues certificates for clients. */
class Authority {
  readonly cert: string;
  readonly #certificate: x509.X509Certificate;
  readonly #keys: webcrypto.CryptoKeyPair;

  private constructor(certificate: x509.X509Certificate, keys: webcrypto.CryptoKeyPair) {
    this.cert = certificate.toString('pem');
    this.#certificate = certificate;
    this.#keys = keys;
  }

  static async create(name: string): Promise<Authority> {
    const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: '01',
      name: `CN=${name}`,
      notBefore: new Date(Date.now() - HOUR),
      notAfter: new Date(Date.now() + 24 * HOUR),
      keys,
      signingAlgorithm: ALGORITHM,
      extensions: [new x509.BasicConstraintsExtension(true, 1, true)],
    });
    return new Authority(certificate, keys);
  }

  async issue(subject: string, uris: readonly string[] = [], hours = 12): Promise<Pair> {
    const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: '02',
      subject,
      issuer: this.#certificate.subject,
      notBefore: new Date(Date.now() - HOUR),
      notAfter: new Date(Date.now() + hours * HOUR),
      signingKey: this.#keys.privateKey,
      publicKey: keys.publicKey,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth]),
        ...(uris.length === 0
          ? []
          : [new x509.SubjectAlternativeNameExtension(uris.map((value) => ({ type: 'url', value })))]),
      ],
    });
    const key = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
    return { cert: certificate.toString('pem'), key: x509.PemConverter.encode(key, 'PRIVATE KEY') };
  }
}

describe('client certificates', () => {
  const server = selfSigned();
  let ours: Authority;
  let theirs: Authority;
  let node: Pair;
  let fixture: RegistryFixture;
  const cleanups: (() => void)[] = [];

  beforeAll(async () => {
    x509.cryptoProvider.set(webcrypto);
    ours = await Authority.create('ours');
    theirs = await Authority.create('theirs');
    node = await ours.issue('CN=node-1', ['spiffe://example.org/ns/team/sa/puller']);
  });
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0)) cleanup();
    await fixture.stop();
  });

  async function start(
    more: Partial<ClientCertificates> = {},
    options: Partial<RegistryOptions> = {},
  ): Promise<void> {
    fixture = await RegistryFixture.start({
      anonymous: 'none',
      tls: server,
      users: [{ name: 'ann', password: 'ann', policies: [{ repositories: 'ann', actions: ['read'] }] }],
      clientCertificates: {
        ca: ours.cert,
        rules: [
          { commonName: 'ann-laptop', user: 'ann' },
          { commonName: 'node-*', policies: [{ repositories: 'team/**', actions: ['read'] }] },
          {
            uri: 'spiffe://example.org/ns/ops/**',
            policies: [{ repositories: '**', actions: ['read', 'delete'] }],
          },
        ],
        ...more,
      },
      ...options,
    });
  }

  interface Asked {
    readonly path?: string;
    readonly method?: string;
    readonly agent?: Agent;
    readonly as?: string;
  }

  function ask(pair: Pair | undefined, asked: Asked = {}): Promise<number | string> {
    const { path = '/v2/team/app/tags/list', method = 'GET', agent, as } = asked;
    const auth = as === undefined ? {} : { auth: as };
    return new Promise((resolve) => {
      const request = httpsRequest(
        `${fixture.registry.url}${path}`,
        { ca: server.cert, method, ...pair, ...auth, agent: agent ?? false },
        (response) => {
          response.resume();
          response.on('end', () => resolve(response.statusCode ?? 0));
        },
      );
      request.on('error', (error) => resolve('code' in error ? String(error.code) : error.message));
      request.end();
    });
  }

  it('stand for what the rule says that fits first, by common name or URI', async () => {
    await start();
    expect(await ask(node)).toBe(404);
    expect(await ask(node, { method: 'DELETE', path: '/v2/team/app/manifests/v1' })).toBe(403);
    expect(await ask(node, { path: '/v2/' })).toBe(200);
    const ops = await ours.issue('CN=anything', ['spiffe://example.org/ns/ops/sa/gc']);
    expect(await ask(ops, { method: 'DELETE', path: '/v2/team/app/manifests/v1' })).toBe(404);
    const laptop = await ours.issue('CN=ann-laptop');
    expect(await ask(laptop, { path: '/v2/ann/tags/list' })).toBe(404);
    await fixture.registry.removeUser('ann');
    expect(await ask(laptop, { path: '/v2/ann/tags/list' })).toBe(401);
  });

  it.each([
    ['of another authority', () => theirs.issue('CN=node-1')],
    ['signed by itself', async () => selfSigned('node-1')],
    ['that has expired', () => ours.issue('CN=node-1', [], -0.5)],
    ['that no rule fits', () => ours.issue('CN=stranger')],
    ['with two common names', () => ours.issue('CN=stranger, CN=node-1')],
    ['whose organisation reads like a common name', () => ours.issue('O="x, CN=node-1"')],
    ['whose URI holds another', () => ours.issue('CN=x', ['http://x/, URI:spiffe://example.org/ns/ops/sa'])],
    ['that is none', async () => undefined],
  ])('a certificate %s does not sign in, where they are optional', async (_what, make) => {
    await start();
    expect(await ask(await make(), { path: '/v2/' })).toBe(401);
  });

  it('are optional unless told: a password does too, and says who it is', async () => {
    await start();
    expect(await ask(undefined, { path: '/v2/ann/tags/list', as: 'ann:ann' })).toBe(404);
    expect(await ask(node, { path: '/v2/ann/tags/list', as: 'ann:ann' })).toBe(404);
    expect(await ask(node, { as: 'ann:wrong' })).toBe(401);
  });

  it('where they are required, nobody else gets as far as a request', async () => {
    await start({ required: true });
    expect(await ask(node)).toBe(404);
    for (const pair of [undefined, await theirs.issue('CN=node-1')]) {
      expect(await ask(pair, { as: 'ann:ann' })).toEqual(expect.stringMatching(/^E|ERR/));
    }
    const stranger = await ours.issue('CN=stranger');
    expect(await ask(stranger)).toBe(401);
    expect(await ask(stranger, { path: '/v2/ann/tags/list', as: 'ann:ann' })).toBe(404);
  });

  it('go on when the certificate of the server is exchanged', async () => {
    await start({ required: true });
    fixture.registry.setTls(server);
    expect(await ask(node)).toBe(404);
    expect(await ask(undefined)).toEqual(expect.stringMatching(/^E|ERR/));
  });

  it('of authorities that are no longer trusted end, on connections that are open too', async () => {
    await start();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    cleanups.push(() => agent.destroy());
    expect(await ask(node, { agent })).toBe(404);
    fixture.registry.setTls({ ...server, clientCa: theirs.cert });
    expect(await ask(node, { agent })).toBe(401);
    expect(await ask(node)).toBe(401);
    expect(await ask(await theirs.issue('CN=node-1'))).toBe(404);
  });

  it('end when they expire, on connections that are open too', async () => {
    const clock = new FakeClock(Date.now());
    await start({}, { clock });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    cleanups.push(() => agent.destroy());
    expect(await ask(node, { agent })).toBe(404);
    await clock.advance(13 * HOUR);
    expect(await ask(node, { agent })).toBe(401);
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'are shown anew each time: no session of %s is resumed',
    async (version) => {
      await start();
      const [host = '', port = ''] = fixture.registry.host.split(':');
      const shake = (
        session?: Buffer,
      ): Promise<{ reused: boolean; session: Buffer | undefined; head: string }> =>
        new Promise((resolve, reject) => {
          const socket: TLSSocket = connect({
            ...{ host, port: Number(port), ca: server.cert, minVersion: version, maxVersion: version },
            ...(session === undefined ? node : { session }),
          });
          let latest: Buffer | undefined;
          let head = '';
          socket.on('session', (given: Buffer) => (latest = given));
          socket.on('error', reject);
          socket.on('data', (chunk: Buffer) => {
            head += chunk.toString();
            socket.end();
          });
          socket.on('close', () => {
            const kept = latest ?? socket.getSession();
            resolve({ reused: socket.isSessionReused(), session: kept, head });
          });
          socket.write('GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
        });
      const first = await shake();
      expect(first.head).toMatch(/^HTTP\/1\.1 200/);
      const second = await shake(first.session ?? Buffer.alloc(0)).catch(() => undefined);
      expect(second?.reused ?? false).toBe(false);
      if (second !== undefined) expect(second.head).toMatch(/^HTTP\/1\.1 401/);
    },
  );
});

describe('the names of a certificate', () => {
  it('are its one common name and its URIs', async () => {
    x509.cryptoProvider.set(webcrypto);
    const authority = await Authority.create('ours');
    const names = async (subject: string, uris: readonly string[] = []): Promise<unknown> =>
      namesOf(new X509Certificate((await authority.issue(subject, uris)).cert));
    expect(await names('CN=a, O=b', ['spiffe://x/y', 'https://z/'])).toEqual({
      commonName: 'a',
      uris: ['spiffe://x/y', 'https://z/'],
    });
    expect(await names('CN=a, CN=b')).toEqual({ commonName: undefined, uris: [] });
    expect(await names('O=only')).toEqual({ commonName: undefined, uris: [] });
  });
});

describe('the options for client certificates', () => {
  const policies = [{ repositories: 'a', actions: ['read'] }] as const;
  it.each([
    ['no PEM', { ca: 'x', rules: [{ commonName: 'a', policies }] }],
    ['a certificate that is no authority', { ca: selfSigned().cert, rules: [{ commonName: 'a', policies }] }],
  ])('with %s are refused', async (_what, clientCertificates) => {
    const options = { tls: selfSigned(), clientCertificates };
    await expect(RegistryFixture.start(options)).rejects.toMatchObject({ code: 'ClientCertificatesInvalid' });
  });

  it.each([
    ['no rules', []],
    ['a rule without a condition', [{ policies }]],
    ['a rule with user and policies', [{ commonName: 'a', user: 'a', policies }]],
    ['a rule with neither', [{ commonName: 'a' }]],
  ])('with %s are refused', async (_what, rules) => {
    x509.cryptoProvider.set(webcrypto);
    const { cert } = await Authority.create('ours');
    const options = { tls: selfSigned(), clientCertificates: { ca: cert, rules } };
    await expect(RegistryFixture.start(options)).rejects.toMatchObject({ code: 'ClientCertificatesInvalid' });
  });

  it('need TLS', async () => {
    x509.cryptoProvider.set(webcrypto);
    const { cert } = await Authority.create('ours');
    const clientCertificates = { ca: cert, rules: [{ commonName: 'a', policies }] };
    await expect(RegistryFixture.start({ clientCertificates })).rejects.toMatchObject({
      code: 'ListenInsecure',
    });
  });
});
