import { Registry } from '../conformance/registry.ts';
import { startRestartable } from './restartable.ts';
import { Chance } from './chance.ts';
import { Session } from './session.ts';

/** What a run did. */
export interface FuzzReport {
  readonly sessions: number;
  readonly steps: number;
  readonly restarts: number;
}

const STEPS = 250;
const SHOWN = 30;

/**
 * Lets random clients work on a registry, one after another, for `ms` milliseconds, and compares it
 * with a model: never a 5xx, never wrong bytes, and the same state also after a restart.
 *
 * @throws Error with the seed of the session and the last requests, when they differ
 */
export async function fuzz(seed: number, ms: number): Promise<FuzzReport> {
  const ours = await startRestartable();
  const end = performance.now() + ms;
  let [sessions, steps, restarts] = [0, 0, 0];
  try {
    while (sessions === 0 || performance.now() < end) {
      const own = seed + sessions;
      const chance = new Chance(own);
      let registry = new Registry({ url: ours.url() });
      const session = new Session(registry, chance);
      try {
        for (let step = 0; step < STEPS && (step < 20 || performance.now() < end); step += 1) {
          await session.step();
          steps += 1;
        }
        await session.check();
        if (chance.once(3)) {
          registry.close();
          await ours.restart();
          registry = new Registry({ url: ours.url() });
          session.use(registry);
          restarts += 1;
          await session.check();
        }
      } catch (error) {
        throw new Error(`seed ${own}: ${String(error)}\n${session.trace.slice(-SHOWN).join('\n')}`, {
          cause: error,
        });
      } finally {
        registry.close();
      }
      sessions += 1;
    }
  } finally {
    await ours.stop();
  }
  return { sessions, steps, restarts };
}
