import { ACTIONS } from '@mural/registry';
import { hash } from 'bcryptjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { selfSigned } from '../../packages/registry/src/fixture-certificate.ts';
import { CASES } from './cases.ts';
import { startOurs } from './ours.ts';
import { Registry } from './registry.ts';

describe('the specification, for all', () => {
  let ours: Awaited<ReturnType<typeof startOurs>>;
  let registry: Registry;

  beforeAll(async () => {
    ours = await startOurs();
    registry = new Registry({ url: ours.url });
  });
  afterAll(async () => {
    registry.close();
    await ours.stop();
  });

  it('names each case once', () => {
    expect(new Set(CASES.map(({ id }) => id)).size).toBe(CASES.length);
  });

  it.each(CASES)('$level $id', async ({ run }) => {
    await run(registry);
  });
});

describe('the specification, over TLS, for those who sign in', () => {
  const tls = selfSigned();
  let ours: Awaited<ReturnType<typeof startOurs>>;
  let registry: Registry;

  beforeAll(async () => {
    const policies = [{ repositories: '**', actions: ACTIONS }];
    const users = [{ name: 'hue', passwordHash: await hash('a password', 4), policies }];
    ours = await startOurs({ tls, users, anonymous: 'none' });
    const authorization = `Basic ${Buffer.from('hue:a password').toString('base64')}`;
    registry = new Registry({ url: ours.url, ca: tls.cert, authorization });
  });
  afterAll(async () => {
    registry.close();
    await ours.stop();
  });

  it('end-1: without credentials the base is 401 and says how to sign in', async () => {
    const anonymous = new Registry({ url: ours.url, ca: tls.cert });
    const answer = await anonymous.send('GET', '/v2/');
    anonymous.close();
    expect(answer.status).toBe(401);
    expect(answer.headers['www-authenticate']).toMatch(/^Basic realm=/);
  });

  it.each(CASES)('$level $id', async ({ run }) => {
    await run(registry);
  });
});
