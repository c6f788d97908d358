import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FakeClock } from '@mural/core/testing';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { digestOf } from '../names.ts';
import { Database } from './database.ts';
import { type Lease, Leases } from './leases.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mural-leases-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const DIGESTS = ['a', 'b', 'c'].map((text) => digestOf(text));

/** What a list of leases by key would say. */
class Model {
  readonly all = new Map<string, Lease>();

  lasting(now: number): Lease[] {
    return [...this.all.values()].filter(({ until }) => until > now);
  }
}

const key = fc.record({
  repository: fc.constantFrom('a', 'a/b', 'b'),
  digest: fc.constantFrom(...DIGESTS),
  holder: fc.constantFrom('', 'x', 'y z'),
});
const step = fc.oneof(
  fc.record({ kind: fc.constant('set' as const), key, ms: fc.integer({ min: 1, max: 1000 }) }),
  fc.record({ kind: fc.constant('extend' as const), key, ms: fc.integer({ min: 1, max: 1000 }) }),
  fc.record({ kind: fc.constant('remove' as const), key }),
  fc.record({ kind: fc.constant('removeAll' as const), key }),
  fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 700 }) }),
  fc.constant({ kind: 'prune' as const }),
  fc.constant({ kind: 'reopen' as const }),
);

it('are what was set and not removed and has not ended, whatever happens in between', async () => {
  const clock = new FakeClock();
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      await rm(directory, { recursive: true, force: true });
      let database = await Database.open(directory);
      let leases = new Leases(database, clock);
      const model = new Model();
      const textOf = (of: Omit<Lease, 'until'>): string => [of.repository, of.digest, of.holder].join(' ');
      for (const one of steps) {
        if (one.kind === 'set') {
          const lease = { ...one.key, until: clock.now() + one.ms };
          leases.set(lease);
          model.all.set(textOf(lease), lease);
        } else if (one.kind === 'extend') {
          const lease = { ...one.key, until: clock.now() + one.ms };
          database.transaction(() => leases.extendWithin(lease));
          if ((model.all.get(textOf(lease))?.until ?? 0) < lease.until) model.all.set(textOf(lease), lease);
        } else if (one.kind === 'remove') {
          leases.remove(one.key);
          model.all.delete(textOf(one.key));
        } else if (one.kind === 'removeAll') {
          const { repository, holder } = one.key;
          leases.remove({ repository, holder });
          for (const digest of DIGESTS) model.all.delete(textOf({ repository, digest, holder }));
        } else if (one.kind === 'wait') await clock.advance(one.ms);
        else if (one.kind === 'prune') leases.prune();
        else {
          await database.close();
          database = await Database.open(directory);
          leases = new Leases(database, clock);
        }
        const lasting = model.lasting(clock.now());
        expect(leases.page({ limit: 100 }).map(textOf)).toEqual(lasting.map(textOf).sort());
        for (const digest of DIGESTS) {
          const expected = lasting.some((lease) => lease.repository === 'a' && lease.digest === digest);
          expect(leases.has('a', digest)).toBe(expected);
        }
      }
      await clock.advance(1000);
      leases.prune();
      const lasting = model.lasting(clock.now());
      expect(leases.countIn('a/b')).toBe(lasting.filter(({ repository }) => repository === 'a/b').length);
      expect(leases.countOf('y z')).toBe(lasting.filter(({ holder }) => holder === 'y z').length);
      await database.close();
    }),
    { numRuns: 40 },
  );
});
