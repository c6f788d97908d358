import { describe, expect, it } from 'vitest';
import { Deadline, withDeadline } from './index.ts';
import { FakeClock } from './testing.ts';

const late = (): Error => new Error('too late');

describe('withDeadline', () => {
  it('lets the caller go on at the deadline, even if the work does not listen', async () => {
    const clock = new FakeClock();
    let reason: unknown;
    const run = withDeadline({ clock, ms: 1000, expired: late }, async (signal) => {
      signal.addEventListener('abort', () => {
        reason = signal.reason;
      });
      await new Promise(() => undefined);
    });
    const failed = expect(run).rejects.toThrow('too late');
    await clock.advance(1000);
    await failed;
    expect(reason).toEqual(new Error('too late'));
  });

  it('passes on the end that the caller sets, and leaves no timer', async () => {
    const clock = new FakeClock();
    const stop = new AbortController();
    const run = withDeadline({ clock, ms: 1000, signal: stop.signal, expired: late }, async () => {
      await new Promise(() => undefined);
    });
    stop.abort(new Error('stopped'));
    await expect(run).rejects.toThrow('stopped');
    expect(clock.sleeping).toBe(0);
    const done = withDeadline({ clock, ms: 1000, expired: late }, async () => Promise.resolve(1));
    await expect(done).resolves.toBe(1);
    expect(clock.sleeping).toBe(0);
  });
});

describe('Deadline', () => {
  it('starts again for each piece of a stream', async () => {
    const clock = new FakeClock();
    const deadline = new Deadline({ clock, ms: 1000, expired: late });
    await clock.advance(900);
    deadline.restart();
    await clock.advance(900);
    expect(deadline.signal.aborted).toBe(false);
    await clock.advance(100);
    expect(deadline.signal.reason).toEqual(new Error('too late'));
  });
});
