import { type Clock, type Logger, rfc3339 } from '@mural/core';
import {
  type Cache,
  type Condition,
  conditionsOf,
  findCondition,
  isKubeError,
  type KubeClient,
  setCondition,
  type Spoke,
  SPOKES,
} from '@mural/kube';

/** A spoke that was silent for this long is not known to be ready. */
export const HEARTBEAT_LIMIT_MS = 3 * 60_000;
const CHECK_MS = 15_000;

export interface HeartbeatsOptions {
  readonly client: KubeClient;
  readonly spokes: Cache<Spoke>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Says of spokes that have gone silent that nothing is known of them. They take that back themselves. */
export class Heartbeats {
  readonly #options: HeartbeatsOptions;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;

  constructor(options: HeartbeatsOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort(new Error('the hub is stopping'));
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock, spokes } = this.#options;
    const { signal } = this.#stop;
    await spokes.synced();
    while (!signal.aborted) {
      for (const spoke of spokes.list()) await this.#check(spoke, signal);
      await clock.sleep(CHECK_MS, signal).catch(() => undefined);
    }
  }

  async #check(spoke: Spoke, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    const condition = silence(spoke, clock.now());
    if (condition === undefined || signal.aborted) return;
    try {
      await this.#write(spoke, condition, signal);
    } catch (error) {
      log.warn({ err: error, spoke: spoke.metadata.name }, 'a missed heartbeat could not be recorded');
    }
  }

  async #write(spoke: Spoke, ready: SilenceCondition, signal: AbortSignal): Promise<void> {
    const { client, clock } = this.#options;
    const { name = '', resourceVersion } = spoke.metadata;
    const conditions = setCondition(
      conditionsOfSpoke(spoke),
      { type: 'Ready', status: 'Unknown', ...ready },
      clock.now(),
    );
    try {
      await client.patch(
        SPOKES,
        { name },
        'merge',
        // With the version that was read: a heartbeat that comes in meanwhile is not written over.
        { metadata: { resourceVersion }, status: { conditions } },
        { subresource: 'status', fieldManager: 'hue', signal },
      );
    } catch (error) {
      if (!isKubeError(error, 'Conflict', 'NotFound')) throw error;
    }
  }
}

interface SilenceCondition {
  readonly reason: string;
  readonly message: string;
}

/** What is to be said of a silent spoke, unless it is said already. */
function silence(spoke: Spoke, now: number): SilenceCondition | undefined {
  if (spoke.metadata.deletionTimestamp !== undefined) return undefined;
  const ready = findCondition(conditionsOfSpoke(spoke), 'Ready');
  const last = spoke.status?.lastHeartbeatTime;
  if (last === undefined) {
    return ready === undefined ? { reason: 'NotJoined', message: 'the spoke has not joined yet' } : undefined;
  }
  if (now - Date.parse(last) <= HEARTBEAT_LIMIT_MS) return undefined;
  if (ready?.reason === 'HeartbeatMissed') return undefined;
  return { reason: 'HeartbeatMissed', message: `no heartbeat since ${rfc3339(Date.parse(last))}` };
}

function conditionsOfSpoke(spoke: Spoke): readonly Condition[] {
  return conditionsOf(spoke);
}
