import { expect, it } from 'vitest';
import { RegistryFixture } from '../fixture.ts';
import { stress } from './stress-client.ts';

/** How long the clients work, in milliseconds. */
const LASTS = Number(process.env['MURAL_STRESS_MS'] ?? 5000);
const CLIENTS = 16;

/**
 * A client uses at once what it was told is there, so uses are held for a short time here, and there
 * is no grace period at all.
 */
it(
  `loses no blob and breaks no push while it collects, ${CLIENTS} clients`,
  async () => {
    const fixture = await RegistryFixture.start({
      useMs: 2000,
      maintenance: {
        graceMs: 0,
        collectEveryMs: 250,
        retention: [{ repositories: '**', untagged: 'keep' }],
      },
    });
    try {
      const end = Date.now() + LASTS;
      const result = await stress({
        host: fixture.registry.host,
        clients: CLIENTS,
        until: () => Date.now() > end,
      });
      expect(result.errors).toEqual([]);
      expect(result.pushed).toBeGreaterThan(20);
      expect(result.deleted).toBeGreaterThan(0);
      const verified = await fixture.registry.maintenance.verify();
      expect(verified.problems.filter(({ kind }) => kind !== 'orphanFile')).toEqual([]);
      console.info(
        JSON.stringify({
          ms: LASTS,
          ...result,
          ...(await fixture.registry.maintenance.stats()),
          repositories: undefined,
        }),
      );
    } finally {
      await fixture.stop();
    }
  },
  LASTS + 60_000,
);
