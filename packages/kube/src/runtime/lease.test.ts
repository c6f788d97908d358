import { FakeClock, settle } from '@mural/core/testing';
import { describe, expect, it } from 'vitest';
import { KubeError } from '../errors.ts';
import { LEASES } from '../resources.ts';
import { createFakeKubeApi } from '../testing/fake-api.ts';
import { runWithLease } from './lease.ts';

interface Candidate {
  readonly log: string[];
  readonly stop: AbortController;
  readonly ended: Promise<void>;
}

function compete(api: ReturnType<typeof createFakeKubeApi>, clock: FakeClock, identity: string): Candidate {
  const log: string[] = [];
  const stop = new AbortController();
  const options = { client: api, namespace: 'ns', name: 'hue', identity, signal: stop.signal, clock };
  const ended = runWithLease(options, async (signal) => {
    log.push('begin');
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    log.push('end');
  });
  return { log, stop, ended };
}

function holder(api: ReturnType<typeof createFakeKubeApi>): unknown {
  return (api.stored(LEASES)[0]?.['spec'] as Record<string, unknown> | undefined)?.['holderIdentity'];
}

describe('runWithLease', () => {
  it('lets one work at a time, and the next at once when it gives the lease back', async () => {
    const clock = new FakeClock();
    const api = createFakeKubeApi({ clock });
    const a = compete(api, clock, 'a');
    await settle();
    const b = compete(api, clock, 'b');
    await clock.advance(60_000);
    expect([a.log, b.log, holder(api)]).toEqual([['begin'], [], 'a']);
    a.stop.abort();
    await a.ended;
    expect(holder(api)).toBe('');
    await clock.advance(3000);
    expect([a.log, b.log, holder(api)]).toEqual([['begin', 'end'], ['begin'], 'b']);
    b.stop.abort();
    await b.ended;
  });

  it('takes over from a holder that is silent for the duration of its lease', async () => {
    const clock = new FakeClock();
    const spec = {
      holderIdentity: 'dead',
      leaseDurationSeconds: 15,
      renewTime: '2030-01-01T00:00:00.000000Z',
    };
    const lease = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name: 'hue', namespace: 'ns' },
      spec,
    };
    const api = createFakeKubeApi({ clock, objects: [lease] });
    const a = compete(api, clock, 'a');
    await clock.advance(14_000);
    expect(a.log).toEqual([]);
    await clock.advance(5000);
    expect(a.log).toEqual(['begin']);
    expect(api.stored(LEASES)[0]?.['spec']).toMatchObject({ holderIdentity: 'a', leaseTransitions: 1 });
    a.stop.abort();
    await a.ended;
  });

  it('stops the work when it cannot renew, and competes again', async () => {
    const clock = new FakeClock();
    const api = createFakeKubeApi({ clock });
    const a = compete(api, clock, 'a');
    await settle();
    api.intercept = () => {
      throw new KubeError('Unreachable', 'no');
    };
    await clock.advance(13_000);
    expect(a.log).toEqual(['begin', 'end']);
    api.intercept = undefined;
    await clock.advance(3000);
    expect(a.log).toEqual(['begin', 'end', 'begin']);
    a.stop.abort();
    await a.ended;
  });

  it('ends with the work, and throws what the work throws', async () => {
    const clock = new FakeClock();
    const options = {
      namespace: 'ns',
      name: 'hue',
      identity: 'a',
      signal: new AbortController().signal,
      clock,
    };
    const api = createFakeKubeApi({ clock });
    await runWithLease({ ...options, client: api }, async () => undefined);
    expect(holder(api)).toBe('');
    const failing = runWithLease({ ...options, client: api }, async () => {
      throw new Error('work');
    });
    await expect(failing).rejects.toThrow('work');
  });
});
