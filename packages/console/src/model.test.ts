import { describe, expect, it } from 'vitest';
import {
  ago,
  deploymentDetail,
  deploymentRows,
  describeProblem,
  eventRows,
  healthOf,
  readToken,
  revisionOf,
  routeOf,
  sentence,
  spokeRows,
  tally,
  tokenOfFragment,
  workloadLink,
} from '../static/model.js';

const SEEN = '2026-01-01T00:00:00Z';
const ready = (status: string, reason: string, message = '') => [{ type: 'Ready', status, reason, message }];
const digest = (digit: string): string => `sha256:${digit.repeat(64)}`;

function spoke(name: string, status?: object, more: object = {}) {
  return { apiVersion: 'mural.dev/v1alpha1', kind: 'Spoke', metadata: { name, ...more }, status };
}

function deployment(name: string, status?: object, more: object = {}) {
  return {
    metadata: { name, namespace: 'default', generation: 2, ...more },
    spec: { profileRef: { name: 'web' }, environmentRef: { name: 'production' } },
    status,
  };
}

describe('places within the page', () => {
  it('lead where they say', () => {
    expect(routeOf('')).toEqual({ view: 'fleet' });
    expect(routeOf('#/')).toEqual({ view: 'fleet' });
    expect(routeOf('#/workloads/a/b/c')).toEqual({ view: 'fleet' });
    expect(routeOf('#/workloads/%zz/b')).toEqual({ view: 'fleet' });
    expect(routeOf(workloadLink('team a', 'x/y'))).toEqual({
      ...{ view: 'workload', namespace: 'team a', name: 'x/y' },
    });
  });
});

describe('a token', () => {
  it('comes with a link or is pasted', () => {
    expect(tokenOfFragment('#/')).toBeUndefined();
    expect(tokenOfFragment('#token=ab%2Fc&x=1')).toBe('ab/c');
    expect(tokenOfFragment('#token=%')).toBe('');
    expect(readToken('  Bearer abc.d-e_f~+/==\n')).toEqual({ token: 'abc.d-e_f~+/==' });
  });

  it.each(['', '  ', 'a b', 'a\nb', 'grün', 'a=b', 'x'.repeat(20_000)])('%j is none', (text) => {
    const { token, problem } = readToken(text);
    expect(token).toBeUndefined();
    expect(problem).toMatch(/\.$/);
  });
});

describe('problems', () => {
  it('are told apart', () => {
    expect(describeProblem({ status: 401, message: 'Unauthorized' }).text).toContain('not accept this token');
    expect(describeProblem({ status: 403, message: 'no' }).title).toBe('Not allowed');
    expect(describeProblem({ status: 404, message: 'no' }).title).toBe('No fleet here');
    expect(describeProblem({ status: 0, message: 'the hub cannot be reached' }).text).toBe(
      'The hub cannot be reached.',
    );
  });
});

describe('spokes', () => {
  it('are rows by name, with what they report', () => {
    const workloads = [{ ready: 'True' }, { ready: 'False' }];
    const rows = spokeRows([
      spoke(
        'b',
        { conditions: ready('True', 'Ready'), lastHeartbeatTime: SEEN, workloads },
        { labels: { tier: 'edge', a: '' } },
      ),
      spoke('a'),
    ]);
    expect(rows.map(({ name }) => name)).toEqual(['a', 'b']);
    expect(rows[1]).toMatchObject({
      labels: ['a', 'tier=edge'],
      ready: { status: 'True' },
      lastSeen: SEEN,
      workloads: { ready: 1, total: 2, current: true },
    });
  });

  it('that never came, or went silent, are not said to be ready', () => {
    const conditions = ready('Unknown', 'HeartbeatMissed', 'no heartbeat since then');
    const workloads = [{ ready: 'True' }];
    const [never, silent] = spokeRows([
      spoke('a'),
      spoke('b', { conditions, lastHeartbeatTime: SEEN, workloads }),
    ]);
    expect(never).toMatchObject({
      ready: { status: 'Unknown', reason: 'NotJoined', message: 'the spoke has not joined yet' },
      lastSeen: undefined,
    });
    expect(silent).toMatchObject({ ready: { status: 'Unknown' }, workloads: { current: false } });
  });
});

describe('workload deployments', () => {
  it('are rows with summary, state and message', () => {
    const status = {
      ...{ observedGeneration: 2, summary: '2/3' },
      conditions: ready('False', 'Failed', 'no profile'),
    };
    expect(deploymentRows([deployment('web', status)])).toEqual([
      {
        ...{ namespace: 'default', name: 'web', link: '#/workloads/default/web' },
        ...{ profile: 'web', environment: 'production', suspended: false, deleting: false, summary: '2/3' },
        ready: { status: 'False', reason: 'Failed', message: 'no profile' },
      },
    ]);
  });

  it('are not said to be ready before the hub has seen the latest change', () => {
    const conditions = ready('True', 'Ready');
    const [fresh, stale] = deploymentRows([
      deployment('a'),
      deployment('b', { observedGeneration: 1, conditions }),
    ]);
    expect(fresh).toMatchObject({ summary: '–', ready: { status: 'Unknown' } });
    expect(fresh?.ready.message).toContain('has not seen');
    expect(stale?.ready.status).toBe('Unknown');
  });

  it('count as ready, failed or unknown', () => {
    const rows = ['True', 'True', 'False', 'Odd'].map((status, index) =>
      deployment(`w${String(index)}`, { observedGeneration: 2, conditions: ready(status, 'X') }),
    );
    expect(tally(deploymentRows(rows))).toEqual({ total: 4, ready: 2, failed: 1, unknown: 1 });
  });
});

describe('the detail of a workload', () => {
  const entry = (name: string, more: object) => ({ name, digest: digest('a'), ready: 'True', ...more });
  const fleet = {
    spokes: [
      spoke('up', { conditions: ready('True', 'Ready'), lastHeartbeatTime: SEEN }),
      spoke('gone', { conditions: ready('Unknown', 'HeartbeatMissed'), lastHeartbeatTime: SEEN }),
    ],
    deployments: [
      deployment('web', {
        observedGeneration: 2,
        conditions: ready('Unknown', 'Progressing', 'waiting'),
        spokes: [
          entry('up', {
            ...{ appliedDigest: digest('a'), objects: 4, healthy: 'Unknown', healthReason: 'NoNodes' },
            message: 'all fine',
          }),
          entry('gone', { appliedDigest: digest('b'), objects: 3, healthy: 'True' }),
          entry('new', { ready: 'Unknown', message: 'the spoke has not joined yet' }),
        ],
      }),
    ],
  };

  it('says of each spoke what is known, and no more', () => {
    const detail = deploymentDetail(fleet, 'default', 'web');
    expect(detail?.spokes).toMatchObject([
      {
        ...{ name: 'up', ready: 'True', objects: 4, message: '', lastSeen: SEEN },
        revision: { applied: 'a'.repeat(12), wanted: '' },
        health: { status: 'Unknown', reason: 'NoNodes' },
      },
      {
        ...{ name: 'gone', ready: 'Unknown', message: 'was ready when it was last seen' },
        revision: { applied: 'b'.repeat(12), wanted: 'a'.repeat(12) },
        health: { status: 'Unknown', reason: 'HeartbeatMissed' },
      },
      {
        ...{ name: 'new', ready: 'Unknown', message: 'the spoke has not joined yet', objects: undefined },
        revision: { applied: '', wanted: 'a'.repeat(12) },
        health: { status: 'None' },
      },
    ]);
    expect(detail?.conditions).toMatchObject([{ type: 'Ready', status: 'Unknown', message: 'waiting' }]);
  });

  it('is nothing for a deployment that is not there', () => {
    expect(deploymentDetail(fleet, 'other', 'web')).toBeUndefined();
  });

  it('claims health only where it is reported', () => {
    expect(healthOf({})).toEqual({ status: 'None', reason: '' });
    expect(healthOf({ healthy: 'True', healthReason: 'Current' })).toEqual({ status: 'True', reason: '' });
    expect(healthOf({ healthy: 'False', healthReason: 'Failed' })).toEqual({
      ...{ status: 'False', reason: 'Failed' },
    });
    expect(healthOf({ healthy: 'perhaps' }).status).toBe('Unknown');
    expect(healthOf({ healthy: 'False' }, true).status).toBe('False');
    expect(revisionOf({})).toEqual({ applied: '', wanted: '' });
  });
});

describe('events', () => {
  it('are shown latest first, whichever form they have', () => {
    const rows = eventRows(
      [
        {
          metadata: { uid: '1' },
          lastTimestamp: '2026-01-01T00:00:01Z',
          reason: 'Old',
          message: 'm',
          count: 3,
        },
        {
          ...{ metadata: { uid: '2' }, eventTime: '2026-01-01T00:00:02.5Z', type: 'Warning', note: 'n' },
          ...{ reportingComponent: 'hue', series: { count: 7, lastObservedTime: '2026-01-01T00:00:09Z' } },
        },
        { metadata: { uid: '3' } },
      ],
      2,
    );
    expect(rows).toMatchObject([
      { id: '2', type: 'Warning', message: 'n', count: 7, source: 'hue' },
      { id: '1', type: 'Normal', reason: 'Old', count: 3 },
    ]);
  });
});

describe('words', () => {
  it.each([
    [-5000, 'now'],
    [0, 'now'],
    [1000, '1 s ago'],
    [119_999, '119 s ago'],
    [120_000, '2 min ago'],
    [7_200_000, '2 h ago'],
    [172_800_000, '2 d ago'],
  ])('%d ms: %s', (ms, text) => {
    expect(ago(SEEN, Date.parse(SEEN) + ms)).toBe(text);
  });

  it('make sentences of messages', () => {
    expect(sentence(' the spoke is gone ')).toBe('The spoke is gone.');
    expect(sentence('Done!')).toBe('Done!');
    expect(sentence('')).toBe('');
  });
});
