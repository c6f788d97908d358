import { afterAll, beforeAll, expect, it } from 'vitest';
import { TestServer } from '../testing/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await TestServer.start();
});
afterAll(() => server.close());

it('says of a rule that nothing here enforces it', async () => {
  const quota = {
    apiVersion: 'v1',
    kind: 'ResourceQuota',
    metadata: { name: 'q' },
    spec: { hard: { configmaps: '1' } },
  };
  const answer = await server.post('/api/v1/namespaces/default/resourcequotas', quota);
  expect(answer.status).toBe(201);
  expect(answer.headers['warning']).toContain('stores a ResourceQuota but does not enforce it');
});
