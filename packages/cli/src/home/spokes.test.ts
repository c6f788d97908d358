import { type Spoke, SPOKES } from '@mural/kube';
import { createFakeKubeApi, type FakeKubeApi } from '@mural/kube/testing';
import { parseValues } from '@mural/values';
import { beforeEach, describe, expect, it } from 'vitest';
import { ensureSpokes, spokeObject } from './spokes.ts';

let client: FakeKubeApi;

beforeEach(() => {
  client = createFakeKubeApi();
});

async function ensure(...names: readonly string[]): Promise<void> {
  const spokes = names.map((name) => `{ name: ${name} }`).join(', ');
  const { values, findings } = parseValues(`fleetConfig: { spokes: [${spokes}] }\n`, 'values.yaml');
  expect(findings).toEqual([]);
  await ensureSpokes(client, values);
}

async function present(): Promise<string[]> {
  const { items } = await client.list<Spoke>(SPOKES);
  return items.map(({ metadata }) => metadata.name ?? '').sort();
}

describe('ensureSpokes', () => {
  it('makes the hub a spoke where the values name none, and takes that back when they name others', async () => {
    await ensure();
    expect(await present()).toEqual(['hub']);
    await ensure('hub-as-spoke', 'edge-1');
    expect(await present()).toEqual(['edge-1', 'hub-as-spoke']);
  });

  it('keeps it when the values name it', async () => {
    await ensure();
    await ensure('hub', 'edge-1');
    expect(await present()).toEqual(['edge-1', 'hub']);
  });

  it('leaves alone a spoke of that name which somebody made, and spokes that the values do not name', async () => {
    await client.create(SPOKES, spokeObject('hub', undefined, undefined));
    await ensure('edge-1');
    await ensure('edge-2');
    expect(await present()).toEqual(['edge-1', 'edge-2', 'hub']);
  });
});
