import type { Spoke, WorkloadDeployment } from '@mural/kube';
import { describe, expect, it } from 'vitest';
import { fleetRows, formatFleet } from './fleet-table.ts';
import { formatAge, formatTable, shortDigest } from './table.ts';

const A = `sha256:${'a'.repeat(64)}`;
const B = `sha256:${'b'.repeat(64)}`;
const NOW = Date.parse('2026-01-01T00:01:00Z');

function spoke(name: string, status: Spoke['status'] = {}): Spoke {
  return { apiVersion: 'mural.dev/v1alpha1', kind: 'Spoke', metadata: { name }, status };
}

function deployment(
  name: string,
  spokes: NonNullable<WorkloadDeployment['status']>['spokes'],
): WorkloadDeployment {
  return {
    apiVersion: 'mural.dev/v1alpha1',
    kind: 'WorkloadDeployment',
    metadata: { name, namespace: 'default' },
    spec: { profileRef: { name: 'p' }, environmentRef: { name: 'e' } },
    status: { spokes },
  };
}

describe('the fleet at a glance', () => {
  it('has a row for each workload of each spoke, and one for a spoke without any', () => {
    const rows = fleetRows(
      [spoke('edge-2'), spoke('edge-1', { lastHeartbeatTime: '2026-01-01T00:00:55Z' })],
      [
        deployment('b', [
          { name: 'edge-1', ready: 'Unknown', digest: B, appliedDigest: A, message: 'pulling' },
        ]),
        deployment('a', [
          {
            name: 'edge-1',
            ready: 'True',
            digest: A,
            appliedDigest: A,
            objects: 3,
            healthy: 'Unknown',
            healthReason: 'NoNodes',
          },
        ]),
      ],
    );
    expect(formatFleet(rows, NOW).split('\n').slice(0, 4)).toEqual([
      'SPOKE    WORKLOAD    REVISION                      OBJECTS   READY     HEALTHY             LAST SEEN   MESSAGE',
      'edge-1   default/a   aaaaaaaaaaaa                  3         True      Unknown (NoNodes)   5s',
      'edge-1   default/b   aaaaaaaaaaaa → bbbbbbbbbbbb   -         Unknown   -                   5s          pulling',
      'edge-2   -           -                             -         Unknown   -                   never',
    ]);
  });

  it('says how to get a spoke when there is none', () => {
    expect(formatFleet([], NOW)).toContain('mural spoke bootstrap');
  });
});

describe('tables', () => {
  it('line up, without blanks at the end', () => {
    expect(formatTable(['A', 'LONGER'], [['value', '']])).toBe('A       LONGER\nvalue\n');
  });

  it.each([
    [0, '0s'],
    [119_000, '119s'],
    [120_000, '2m'],
    [7_200_000, '2h'],
    [200_000_000, '2d'],
    [-5, '0s'],
  ])('%i ms are %s', (ms, text) => {
    expect(formatAge(ms)).toBe(text);
  });

  it('shorten digests to what tells them apart', () => {
    expect(shortDigest(A)).toBe('a'.repeat(12));
    expect(shortDigest(undefined)).toBe('-');
  });
});
