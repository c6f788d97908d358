import { FakeClock } from '@mural/core/testing';
import { describe, expect, it } from 'vitest';
import { KubeError } from '../errors.ts';
import type { UnstructuredObject } from '../objects.ts';
import { EVENTS } from '../resources.ts';
import { createFakeKubeApi } from '../testing/fake-api.ts';
import { createEventRecorder } from './events.ts';

const subject: UnstructuredObject = {
  apiVersion: 'mural.dev/v1alpha1',
  kind: 'WorkloadDeployment',
  metadata: { name: 'shop', namespace: 'ns', uid: 'u1', resourceVersion: '7' },
};

function setUp(): {
  clock: FakeClock;
  api: ReturnType<typeof createFakeKubeApi>;
  recorder: ReturnType<typeof createEventRecorder>;
} {
  const clock = new FakeClock();
  const api = createFakeKubeApi({ clock });
  return { clock, api, recorder: createEventRecorder({ client: api, component: 'hue', clock }) };
}

describe('createEventRecorder', () => {
  it('writes who reports what about which object', async () => {
    const { api, recorder } = setUp();
    recorder.event(subject, 'Normal', 'Published', 'pushed', { 'mural.dev/digest': 'sha256:0' });
    await recorder.flush();
    const [event] = api.stored(EVENTS);
    expect(event).toMatchObject({
      metadata: { namespace: 'ns', annotations: { 'mural.dev/digest': 'sha256:0' } },
      involvedObject: { kind: 'WorkloadDeployment', name: 'shop', namespace: 'ns', uid: 'u1' },
      type: 'Normal',
      reason: 'Published',
      message: 'pushed',
      source: { component: 'hue' },
      reportingComponent: 'hue',
      firstTimestamp: '2026-01-01T00:00:00Z',
      count: 1,
    });
    expect(event?.metadata.name).toMatch(/^shop\.[0-9a-f]{16}$/);
  });

  it('counts equal events, for a while, and begins anew when the event is gone', async () => {
    const { api, clock, recorder } = setUp();
    for (let turn = 0; turn < 3; turn += 1) recorder.event(subject, 'Warning', 'Failed', 'no');
    await recorder.flush();
    expect(api.stored(EVENTS).map((event) => event['count'])).toEqual([3]);
    await clock.advance(11 * 60_000);
    recorder.event(subject, 'Warning', 'Failed', 'no');
    await recorder.flush();
    expect(api.stored(EVENTS).map((event) => event['count'])).toEqual([3, 1]);
    for (const { metadata } of api.stored(EVENTS)) {
      await api.delete(EVENTS, { name: metadata.name ?? '', namespace: 'ns' });
    }
    recorder.event(subject, 'Warning', 'Failed', 'no');
    await recorder.flush();
    expect(api.stored(EVENTS).map((event) => event['count'])).toEqual([1]);
  });

  it('limits what one object can cause, but not the others', async () => {
    const { api, clock, recorder } = setUp();
    for (let turn = 0; turn < 100; turn += 1) recorder.event(subject, 'Normal', 'Noise', `message ${turn}`);
    const other = { ...subject, metadata: { name: 'other', namespace: 'ns' } };
    recorder.event(other, 'Normal', 'Fine', 'heard');
    await recorder.flush();
    expect(api.stored(EVENTS)).toHaveLength(26);
    await clock.advance(60_000);
    recorder.event(subject, 'Normal', 'Noise', 'later');
    await recorder.flush();
    expect(api.stored(EVENTS)).toHaveLength(27);
  });

  it('goes on after a failure, and keeps events of cluster objects in the default namespace', async () => {
    const { api, recorder } = setUp();
    api.intercept = () => {
      throw new KubeError('Forbidden', 'no');
    };
    recorder.event(subject, 'Normal', 'Lost', 'lost');
    await recorder.flush();
    api.intercept = undefined;
    recorder.event({ ...subject, metadata: { name: 'spoke' } }, 'Normal', 'Kept', 'kept');
    await recorder.flush();
    expect(api.stored(EVENTS).map(({ metadata, reason }) => [metadata.namespace, reason])).toEqual([
      ['default', 'Kept'],
    ]);
  });
});
