import { describe, expect, it } from 'vitest';
import { needsNodes, objectStatus } from './kstatus.ts';
import type { UnstructuredObject } from './objects.ts';

function object(apiVersion: string, kind: string, fields: object = {}, generation = 1): UnstructuredObject {
  return { apiVersion, kind, metadata: { name: 'x', namespace: 'ns', generation }, ...fields };
}

function condition(type: string, status: string, reason = 'R', message = `${type} ${status}`): object {
  return { type, status, reason, message };
}

const available = {
  observedGeneration: 1,
  replicas: 2,
  updatedReplicas: 2,
  availableReplicas: 2,
  readyReplicas: 2,
  conditions: [condition('Available', 'True')],
};

describe('objectStatus', () => {
  it.each([
    ['Deployment without status', object('apps/v1', 'Deployment'), 'InProgress', 'replicas: 0/1'],
    ['Deployment', object('apps/v1', 'Deployment', { spec: { replicas: 2 }, status: available }), 'Current'],
    [
      'Deployment of an older generation',
      object('apps/v1', 'Deployment', { spec: { replicas: 2 }, status: available }, 2),
      'InProgress',
      'Deployment generation is 2, but latest observed generation is 1',
    ],
    [
      'Deployment that scales down',
      object('apps/v1', 'Deployment', { spec: { replicas: 1 }, status: available }),
      'InProgress',
      'Pending termination: 1',
    ],
    [
      'Deployment past its deadline',
      object('apps/v1', 'Deployment', {
        status: { conditions: [condition('Progressing', 'False', 'ProgressDeadlineExceeded')] },
      }),
      'Failed',
    ],
    [
      'StatefulSet with an old revision',
      object('apps/v1', 'StatefulSet', {
        status: {
          replicas: 1,
          readyReplicas: 1,
          currentReplicas: 1,
          currentRevision: 'a',
          updateRevision: 'b',
        },
      }),
      'InProgress',
    ],
    [
      'StatefulSet',
      object('apps/v1', 'StatefulSet', {
        status: {
          replicas: 1,
          readyReplicas: 1,
          currentReplicas: 1,
          currentRevision: 'b',
          updateRevision: 'b',
        },
      }),
      'Current',
    ],
    [
      'DaemonSet',
      object('apps/v1', 'DaemonSet', {
        status: {
          observedGeneration: 1,
          desiredNumberScheduled: 1,
          currentNumberScheduled: 1,
          updatedNumberScheduled: 1,
          numberAvailable: 1,
          numberReady: 1,
        },
      }),
      'Current',
    ],
    ['DaemonSet nobody saw', object('apps/v1', 'DaemonSet'), 'InProgress'],
    [
      'ReplicaSet',
      object('apps/v1', 'ReplicaSet', {
        status: { replicas: 1, fullyLabeledReplicas: 1, availableReplicas: 1, readyReplicas: 1 },
      }),
      'Current',
    ],
    [
      'Job',
      object('batch/v1', 'Job', { status: { conditions: [condition('Complete', 'True')] } }),
      'Current',
    ],
    [
      'Job that failed',
      object('batch/v1', 'Job', { status: { conditions: [condition('Failed', 'True')] } }),
      'Failed',
    ],
    ['Job that runs', object('batch/v1', 'Job', { status: { startTime: 'x' } }), 'InProgress'],
    ['CronJob', object('batch/v1', 'CronJob'), 'Current'],
    [
      'Pod',
      object('v1', 'Pod', { status: { phase: 'Running', conditions: [condition('Ready', 'True')] } }),
      'Current',
    ],
    [
      'Pod that crashes',
      object('v1', 'Pod', {
        status: {
          phase: 'Running',
          containerStatuses: [{ name: 'c', state: { waiting: { reason: 'CrashLoopBackOff' } } }],
        },
      }),
      'Failed',
      'Containers in CrashLoop state: c',
    ],
    ['Pod nobody scheduled', object('v1', 'Pod'), 'InProgress'],
    [
      'PersistentVolumeClaim',
      object('v1', 'PersistentVolumeClaim', { status: { phase: 'Bound' } }),
      'Current',
    ],
    ['PersistentVolumeClaim that waits', object('v1', 'PersistentVolumeClaim'), 'InProgress'],
    ['Service', object('v1', 'Service', { spec: { clusterIP: '10.0.0.1' } }), 'Current'],
    ['Service without address', object('v1', 'Service', { spec: { type: 'LoadBalancer' } }), 'InProgress'],
    [
      'CustomResourceDefinition',
      object('apiextensions.k8s.io/v1', 'CustomResourceDefinition', {
        status: { conditions: [condition('Established', 'True')] },
      }),
      'Current',
    ],
    [
      'CustomResourceDefinition with taken names',
      object('apiextensions.k8s.io/v1', 'CustomResourceDefinition', {
        status: { conditions: [condition('NamesAccepted', 'False')] },
      }),
      'Failed',
    ],
    ['ConfigMap', object('v1', 'ConfigMap'), 'Current'],
    ['custom object without conditions', object('x.io/v1', 'X'), 'Current'],
    [
      'custom object that is not ready',
      object('x.io/v1', 'X', { status: { conditions: [condition('Ready', 'False', 'R', 'broken')] } }),
      'InProgress',
      'broken',
    ],
    [
      'custom object that stalls',
      object('x.io/v1', 'X', {
        status: { conditions: [condition('Ready', 'False'), condition('Stalled', 'True', 'R', 'stuck')] },
      }),
      'Failed',
      'stuck',
    ],
    [
      'custom object that reconciles',
      object('x.io/v1', 'X', {
        status: { conditions: [condition('Ready', 'True'), condition('Reconciling', 'True')] },
      }),
      'InProgress',
    ],
  ])('%s', (_name, subject, status, message?: string) => {
    expect(objectStatus(subject)).toMatchObject(message === undefined ? { status } : { status, message });
  });

  it('knows what is going and what is gone', () => {
    const going = object('v1', 'ConfigMap');
    const metadata = { ...going.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' };
    expect(objectStatus({ ...going, metadata }).status).toBe('Terminating');
    expect(objectStatus(undefined).status).toBe('NotFound');
  });

  it('survives fields of the wrong type', () => {
    const odd = { spec: 'x', status: { conditions: 'y', replicas: 'z', containerStatuses: [null] } };
    for (const kind of ['Deployment', 'StatefulSet', 'DaemonSet', 'ReplicaSet']) {
      expect(objectStatus(object('apps/v1', kind, odd)).status).toBe('InProgress');
    }
    expect(objectStatus(object('v1', 'Pod', { status: { phase: 'Running', ...odd.status } })).status).toBe(
      'InProgress',
    );
  });
});

describe('needsNodes', () => {
  it('holds for what runs pods, not for what makes them later', () => {
    expect(needsNodes(object('apps/v1', 'Deployment'))).toBe(true);
    expect(needsNodes(object('batch/v1', 'Job'))).toBe(true);
    expect(needsNodes(object('v1', 'PersistentVolumeClaim'))).toBe(true);
    expect(needsNodes(object('batch/v1', 'CronJob'))).toBe(false);
    expect(needsNodes(object('v1', 'ConfigMap'))).toBe(false);
    expect(needsNodes(object('other.io/v1', 'Deployment'))).toBe(false);
  });
});
