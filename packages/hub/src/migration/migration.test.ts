import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { migrate, rollBack } from './migration.ts';
import type { MigrationPlan } from './ports.ts';
import { previewMigration } from './preview.ts';
import type { MigrationPhase } from './state.ts';
import { FakeFleet, Killed } from './test-fleet.ts';

const OLD = 'oci://old.example/mural/workloads';
const NEW = 'oci://new.example/fleet/workloads';

async function codeOf(run: Promise<unknown>): Promise<string> {
  return run.then(
    () => 'no error',
    (error: unknown) => (error as { readonly code: string }).code,
  );
}

/** Everything is at `side`, and the other registry can go. */
function expectAt(fleet: FakeFleet, side: 'from' | 'to'): void {
  expect(fleet.violations).toEqual([]);
  expect(fleet.kept.values).toEqual({ current: side === 'to' ? 'NEW' : 'OLD', previous: undefined });
  const other = side === 'to' ? 'from' : 'to';
  fleet.contents[other].clear();
  fleet.tags[other].clear();
  fleet.turn();
  expect(fleet.violations).toEqual([]);
  for (const spoke of fleet.spokes) {
    expect([spoke.name, spoke.reads]).toEqual([spoke.name, side]);
    expect(Object.fromEntries(spoke.running)).toEqual(Object.fromEntries(fleet.wanted));
  }
}

describe('migrate', () => {
  it('moves one spoke, then a tenth of the fleet at a time, and says what it does', async () => {
    const fleet = new FakeFleet(25);
    const state = await migrate(fleet.world());
    expect(state).toMatchObject({
      phase: 'Completed',
      waves: 9,
      wave: [],
      copied: { artifacts: 2, bytes: 200 },
    });
    expectAt(fleet, 'to');
    const waves = fleet.events.flatMap((event) =>
      event.type === 'step' && event.step === 'wave' ? [event.message] : [],
    );
    expect(waves.slice(0, 2)).toEqual([
      `wave 1: edge-01 to ${NEW}`,
      `wave 2: edge-02, edge-03, edge-04 to ${NEW}`,
    ]);
    expect(fleet.events.filter(({ type }) => type === 'spoke')).toHaveLength(25);
    expect(fleet.events.find(({ type }) => type === 'copied')).toEqual({
      ...{ type: 'copied', done: 1, total: 2, bytes: 100 },
    });
  });

  it('does nothing when it is run again after the end', async () => {
    const fleet = new FakeFleet(2);
    await migrate(fleet.world());
    const { version } = fleet.stored;
    expect((await migrate(fleet.world())).phase).toBe('Completed');
    expect(fleet.stored.version).toBe(version);
  });

  it('can be begun again after it was rolled back', async () => {
    const fleet = new FakeFleet(3);
    await migrate(fleet.world());
    expect((await rollBack(fleet.world())).phase).toBe('RolledBack');
    expect((await migrate(fleet.world({ id: 'm-2' }))).id).toBe('m-2');
    expectAt(fleet, 'to');
  });

  it('moves spokes that join on the way', async () => {
    const fleet = new FakeFleet(3);
    fleet.onCall = () => {
      if (fleet.state?.phase === 'SwitchingSpokes' && fleet.spokes.length === 3) fleet.addSpoke('late');
    };
    await migrate(fleet.world());
    expectAt(fleet, 'to');
  });

  it('ends when a spoke of the wave is deleted', async () => {
    const fleet = new FakeFleet(2);
    fleet.onCall = () => {
      if (fleet.state?.wave.includes('edge-02') === true) fleet.spokes.splice(1, 1);
    };
    await migrate(fleet.world());
    expectAt(fleet, 'to');
  });

  it('works without spokes', async () => {
    const fleet = new FakeFleet(0);
    expect((await migrate(fleet.world())).phase).toBe('Completed');
  });
});

describe('a killed migration', () => {
  it('ends with everything at the target however often it is killed, and no spoke is ever without', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 8 }),
        fc.array(fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }), {
          minLength: 20,
          maxLength: 60,
        }),
        fc.integer({ min: 1, max: 12 }),
        async (fuses, noise, spokes) => {
          const fleet = noisyFleet(spokes, noise);
          await drive(fleet, fuses, async () => migrate(fleet.world()));
          expectAt(fleet, 'to');
        },
      ),
      { numRuns: 60 },
    );
  });

  it('can be rolled back from wherever it stopped, and the way back can be killed too', async () => {
    const phases = new Set<MigrationPhase | undefined>();
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 80 }), { minLength: 1, maxLength: 3 }),
        fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 4 }),
        fc.array(fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }), {
          minLength: 20,
          maxLength: 60,
        }),
        fc.integer({ min: 1, max: 8 }),
        async (there, back, noise, spokes) => {
          const fleet = noisyFleet(spokes, noise);
          for (const fuse of there) {
            fleet.fuse = fuse;
            await migrate(fleet.world()).catch(onlyKilled);
          }
          phases.add(fleet.state?.phase);
          if (fleet.state === undefined) return;
          await drive(fleet, back, async () => rollBack(fleet.world()));
          expectAt(fleet, 'from');
        },
      ),
      { numRuns: 80 },
    );
    expect([...phases]).toEqual(
      expect.arrayContaining(['Copying', 'SwitchingHub', 'SwitchingSpokes', 'Completed']),
    );
  });
});

/** Rollouts and turns of hub and spokes come at random between the calls. */
function noisyFleet(spokes: number, noise: readonly number[]): FakeFleet {
  const fleet = new FakeFleet(spokes);
  let index = 0;
  fleet.random = () => noise[index++ % noise.length] ?? 0;
  fleet.onCall = () => {
    if (fleet.random() < 0.05) fleet.rollOut('default/one');
  };
  return fleet;
}

async function drive(fleet: FakeFleet, fuses: readonly number[], run: () => Promise<unknown>): Promise<void> {
  for (const fuse of fuses) {
    fleet.fuse = fuse;
    await run().catch(onlyKilled);
  }
  fleet.fuse = Number.POSITIVE_INFINITY;
  await run();
}

function onlyKilled(error: unknown): void {
  if (!(error instanceof Killed)) throw error;
}

describe('a migration that cannot go on', () => {
  const short: Partial<MigrationPlan> = { timeoutMs: 5000 };

  it('stops at a spoke that does not move, tells why, and leaves the rest where they are', async () => {
    const fleet = new FakeFleet(3);
    const canary = fleet.spoke('edge-01');
    canary.cut = true;
    canary.complaint = 'Ready is False, AuthenticationFailed: no credential for new.example';
    await expect(migrate(fleet.world(short))).rejects.toMatchObject({
      code: 'SpokeNotMoved',
      message: `spoke edge-01 does not report to read ${NEW}: it reads ${OLD}; Ready is False, AuthenticationFailed: no credential for new.example`,
    });
    expect(fleet.spokes.map(({ reads }) => reads)).toEqual(['from', 'from', 'from']);
    canary.cut = false;
    await migrate(fleet.world(short));
    expectAt(fleet, 'to');
  });

  it('writes down who of its wave is assumed to have moved, so that the hub moves its root, too', async () => {
    const fleet = new FakeFleet(2);
    fleet.spoke('edge-01').cut = true;
    await expect(migrate(fleet.world(short))).rejects.toMatchObject({ code: 'SpokeNotMoved' });
    const { assumed } = await migrate(fleet.world({ ...short, assumed: ['edge-01'] }));
    expect(assumed).toEqual(['edge-01']);
  });

  it('leaves spokes that never reported alone, and is not at its end until they are accounted for', async () => {
    const fleet = new FakeFleet(2);
    const silent = fleet.addSpoke('flux-only');
    silent.reports = false;
    fleet.turn();
    await expect(migrate(fleet.world(short))).rejects.toMatchObject({
      code: 'SpokesSilent',
      message: expect.stringContaining('flux-only (never reported)') as string,
    });
    expect(fleet.spokes.map(({ reads }) => reads)).toEqual(['to', 'to', 'from']);
    expect(fleet.kept.values.previous).toBe('OLD');
    await migrate(fleet.world({ ...short, assumed: ['flux-only'] }));
    // The root that sends it on is where it looks, before nobody writes there any more.
    expect(fleet.tags.from.get('spoke-flux-only')).toBe('root of flux-only at to');
    fleet.turn();
    expectAt(fleet, 'to');
  });

  it('goes to spokes that are offline last, and waits for them', async () => {
    const fleet = new FakeFleet(4);
    fleet.spoke('edge-01').online = false;
    await expect(migrate(fleet.world(short))).rejects.toMatchObject({
      code: 'SpokeNotMoved',
      message: expect.stringContaining('the hub does not hear it') as string,
    });
    expect(fleet.spokes.map(({ reads }) => reads)).toEqual(['from', 'to', 'to', 'to']);
    fleet.spoke('edge-01').online = true;
    await migrate(fleet.world(short));
    expectAt(fleet, 'to');
  });

  it('counts a spoke as moved that is assumed to be, after it was waited for in vain', async () => {
    const fleet = new FakeFleet(2);
    fleet.spoke('edge-02').online = false;
    expect(await codeOf(migrate(fleet.world(short)))).toBe('SpokeNotMoved');
    expect((await migrate(fleet.world({ ...short, assumed: ['edge-02'] }))).phase).toBe('Completed');
  });

  it('stops when the hub does not publish to the target', async () => {
    const fleet = new FakeFleet(2);
    fleet.hubAlive = false;
    expect(await codeOf(migrate(fleet.world(short)))).toBe('HubSilent');
    expect(fleet.state).toMatchObject({ phase: 'SwitchingHub', switched: [] });
    fleet.hubAlive = true;
    await migrate(fleet.world(short));
    expectAt(fleet, 'to');
  });

  it('tells no spoke to move whose root is not at the target yet', async () => {
    const fleet = new FakeFleet(3);
    fleet.onCall = () => {
      if (fleet.state?.phase !== 'SwitchingSpokes' || !fleet.hubAlive) return;
      fleet.hubAlive = false;
      fleet.tags.to.clear();
    };
    expect(await codeOf(migrate(fleet.world(short)))).toBe('HubSilent');
    expect(fleet.state).toMatchObject({ phase: 'SwitchingSpokes', switched: [] });
    fleet.onCall = () => undefined;
    fleet.hubAlive = true;
    await migrate(fleet.world(short));
    expectAt(fleet, 'to');
  });

  it('waits for no workload that was not at its digest before', async () => {
    const fleet = new FakeFleet(2);
    for (const spoke of fleet.spokes) spoke.failing.add('default/one');
    fleet.rollOut('default/one');
    fleet.turn();
    expect((await migrate(fleet.world(short))).phase).toBe('Completed');
  });

  it('refuses when neither registry has what a spoke is to run', async () => {
    const fleet = new FakeFleet(1);
    fleet.wanted.set('default/gone', 'sha256:gone');
    await expect(migrate(fleet.world(short))).rejects.toMatchObject({
      code: 'ArtifactMissing',
      message: 'neither registry has the artifact of workload (sha256:gone)',
    });
    expect(fleet.state?.phase).toBe('Copying');
  });

  it('ends one of two runs at once', async () => {
    const fleet = new FakeFleet(6);
    const runs = await Promise.allSettled([migrate(fleet.world()), migrate(fleet.world({ id: 'm-2' }))]);
    const failed = runs.flatMap((run) => (run.status === 'rejected' ? [run.reason as unknown] : []));
    expect(failed).toMatchObject([{ code: 'Interleaved' }]);
    expectAt(fleet, 'to');
  });
});

describe('what is refused before anything changes', () => {
  const cases: [string, (fleet: FakeFleet) => Promise<unknown>][] = [
    ['SameRegistry', async (fleet) => migrate(fleet.world({ to: fleet.world().plan.from }))],
    [
      'ValuesDiffer',
      async (fleet) => {
        fleet.kept.values = { current: 'THIRD', previous: undefined };
        await migrate(fleet.world());
      },
    ],
    [
      'RegistryUnusable',
      async (fleet) => {
        fleet.down.to = true;
        await migrate(fleet.world());
      },
    ],
    [
      'ArtifactElsewhere',
      async (fleet) => {
        fleet.elsewhere = [{ user: 'component a of profile default/p', url: 'oci://old.example/charts/a' }];
        await migrate(fleet.world());
      },
    ],
    [
      'SpokeRegistryFixed',
      async (fleet) => {
        fleet.spoke('edge-01').fixedUrl = OLD;
        await migrate(fleet.world());
      },
    ],
    [
      'SpokeRegistryFixed',
      async (fleet) => {
        fleet.spoke('edge-01').fromValues = true;
        await migrate(fleet.world());
      },
    ],
    ['NothingToRollBack', async (fleet) => rollBack(fleet.world())],
  ];
  it.each(cases)('%s', async (code, run) => {
    const fleet = new FakeFleet(1);
    expect(await codeOf(run(fleet))).toBe(code);
    expect(fleet.stored.state).toBeUndefined();
    expect([...fleet.contents.to]).toEqual([]);
  });

  it('another migration, and the way forward while it is rolled back', async () => {
    const fleet = new FakeFleet(3);
    fleet.hubAlive = false;
    expect(await codeOf(migrate(fleet.world({ timeoutMs: 2000 })))).toBe('HubSilent');
    const other = { ...fleet.world().plan.to, url: 'oci://third.example/x/y', valuesHash: 'hash of THIRD' };
    expect(await codeOf(migrate(fleet.world({ to: other })))).toBe('OtherMigration');
    fleet.down.from = true;
    expect(await codeOf(rollBack(fleet.world({ timeoutMs: 2000 })))).toBe('RegistryUnusable');
    fleet.down.from = false;
    fleet.fuse = 12;
    await rollBack(fleet.world({ timeoutMs: 2000 })).catch(() => undefined);
    fleet.fuse = Number.POSITIVE_INFINITY;
    expect(await codeOf(migrate(fleet.world()))).toBe('RollbackUnderWay');
  });
});

describe('rollBack', () => {
  it('goes back although the new registry has failed, as long as the spokes still read the old one', async () => {
    const fleet = new FakeFleet(3);
    fleet.hubAlive = false;
    expect(await codeOf(migrate(fleet.world({ timeoutMs: 2000 })))).toBe('HubSilent');
    fleet.hubAlive = true;
    fleet.down.to = true;
    expect((await rollBack(fleet.world())).phase).toBe('RolledBack');
    expectAt(fleet, 'from');
    expect(fleet.events).toContainEqual({ type: 'warning', message: expect.stringContaining(NEW) as string });
  });

  it('brings back what was made since', async () => {
    const fleet = new FakeFleet(3);
    await migrate(fleet.world());
    fleet.rollOut('default/one');
    fleet.turn();
    expect(fleet.contents.from.has(fleet.wanted.get('default/one') ?? '')).toBe(false);
    await rollBack(fleet.world());
    expectAt(fleet, 'from');
  });
});

describe('previewMigration', () => {
  it('counts what would be done and changes nothing', async () => {
    const fleet = new FakeFleet(12);
    fleet.addSpoke('flux-only').reports = false;
    fleet.spoke('edge-12').online = false;
    const before = JSON.stringify([fleet.stored, fleet.kept, [...fleet.contents.to]]);
    const preview = await previewMigration(fleet.world({ waveSize: { spokes: 5 } }), 'to');
    expect(preview).toMatchObject({
      ...{ phase: 'Copying', source: OLD, target: NEW, toCopy: 2, bytes: 200, missing: [] },
      waves: [1, 5, 5, 1],
      spokes: { moved: [], unheard: ['edge-12'], silent: ['flux-only'] },
    });
    expect(preview.spokes.toMove).toHaveLength(12);
    expect(JSON.stringify([fleet.stored, fleet.kept, [...fleet.contents.to]])).toBe(before);
  });
});
