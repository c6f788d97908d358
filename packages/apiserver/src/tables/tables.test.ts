import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FakeClock } from '@mural/core/testing';
import type { Answered } from '../testing/server.ts';
import { TestServer, widget, widgetCrd } from '../testing/server.ts';
import { humanDuration } from './ages.ts';
import { parseJsonPath } from './json-path.ts';

const TABLE = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json';
const clock = new FakeClock(Date.UTC(2026, 0, 1));

let server: TestServer;
beforeAll(async () => {
  server = await TestServer.start({ clock });
});
afterAll(() => server.close());

async function table(path: string): Promise<Record<string, unknown>[]> {
  const { body } = await server.send('GET', path, { accept: TABLE });
  expect(body.kind).toBe('Table');
  const names = body.columnDefinitions.map((column: Answered) => column.name as string);
  return body.rows.map((row: Answered) =>
    Object.fromEntries(row.cells.map((cell: unknown, index: number) => [names[index], cell])),
  );
}

describe('tables', () => {
  it('show workloads as kubectl prints them', async () => {
    const labels = { app: 'web' };
    await server.post('/apis/apps/v1/namespaces/default/deployments', {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'web' },
      spec: {
        replicas: 3,
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers: [{ name: 'c', image: 'i:1' }] } },
      },
    });
    await server.patch('/apis/apps/v1/namespaces/default/deployments/web/status', {
      status: { replicas: 3, readyReplicas: 2, updatedReplicas: 3, availableReplicas: 2 },
    });
    await clock.advance(90_000);
    expect(await table('/apis/apps/v1/deployments')).toEqual([
      {
        Name: 'web',
        Ready: '2/3',
        'Up-to-date': 3,
        Available: 2,
        Age: '90s',
        Containers: 'c',
        Images: 'i:1',
        Selector: 'app=web',
      },
    ]);
  });

  it('show the columns of custom resources', async () => {
    await server.post('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', widgetCrd());
    const path = '/apis/example.com/v1/namespaces/default/widgets';
    await server.post(path, widget('w'));
    expect(await table(path)).toEqual([{ Name: 'w', Size: 1, Ready: null }]);
    await server.patch(`${path}/w/status`, { status: { conditions: [{ type: 'Ready', status: 'True' }] } });
    expect(await table(`${path}/w`)).toEqual([{ Name: 'w', Size: 1, Ready: 'True' }]);
  });

  it('exist for every built-in resource that can be listed', async () => {
    const groups = (await server.get('/apis')).body.groups.map(
      (one: Answered) => `/apis/${one.preferredVersion.groupVersion}`,
    );
    for (const root of ['/api/v1', ...groups]) {
      const { resources } = (await server.get(root)).body;
      for (const resource of resources.filter((one: Answered) => one.verbs.includes('list'))) {
        await table(`${root}/${resource.name}`);
      }
    }
  });
});

describe('ages', () => {
  it.each([
    [-5000, '<invalid>'],
    [-500, '0s'],
    [119_000, '119s'],
    [120_000, '2m'],
    [125_000, '2m5s'],
    [3_600_000, '60m'],
    [4 * 3_600_000, '4h'],
    [4 * 3_600_000 + 60_000, '4h1m'],
    [47 * 3_600_000, '47h'],
    [49 * 3_600_000, '2d1h'],
    [9 * 86_400_000, '9d'],
    [400 * 86_400_000, '400d'],
    [800 * 86_400_000, '2y70d'],
  ])('%i ms is %s', (ms, text) => {
    expect(humanDuration(ms)).toBe(text);
  });
});

describe('JSON paths', () => {
  const object = {
    a: {
      b: [
        { n: 1, t: 'x' },
        { n: 2, t: 'y' },
      ],
      'c.d': 'dotted',
      e: true,
    },
  };
  it.each([
    ['.a.b[0].n', [1]],
    ['.a.b[*].n', [1, 2]],
    ['.a.b[-1].t', ['y']],
    ['.a.b[?(@.t=="y")].n', [2]],
    ['.a.b[?(@.n > 1)].t', ['y']],
    [".a['c.d']", ['dotted']],
    ['.a.c\\.d', ['dotted']],
    ['{.a.e}', [true]],
    ['.a.none.deep', []],
  ])('%s', (path, found) => {
    expect(parseJsonPath(path)?.(object)).toEqual(found);
  });

  it('are refused when they are none', () => {
    expect(parseJsonPath('.a[')).toBeUndefined();
    expect(parseJsonPath('a')).toBeUndefined();
  });
});
