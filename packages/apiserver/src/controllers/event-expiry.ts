import { errorMessage } from '@mural/core';
import type { Api } from '../api.ts';
import type { Stored } from '../objects.ts';
import { digString } from '../objects.ts';

/** How long an event is kept after it was last seen: kube-apiserver's `--event-ttl`. */
const LIFE_MS = 3_600_000;
const SWEEP_MS = 300_000;

/** Removes events that were last seen an hour ago. */
export function startEventExpiry(api: Api): { stop(): Promise<void> } {
  const stop = new AbortController();
  const run = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      await sweep(api);
      await api.clock.sleep(SWEEP_MS, stop.signal);
    }
  };
  const running = run().catch((error: unknown) => {
    if (!stop.signal.aborted) api.log.warn({ error: errorMessage(error) }, 'events are not removed any more');
  });
  return {
    stop: async () => {
      stop.abort();
      await running;
    },
  };
}

async function sweep(api: Api): Promise<void> {
  const before = api.clock.now() - LIFE_MS;
  const old = api.store.list('events').filter((event) => lastSeen(event) < before);
  if (old.length === 0) return;
  await api.store.write((transaction) => {
    for (const { metadata } of old) {
      const live = transaction.get('events', metadata.namespace ?? '', metadata.name ?? '');
      if (live !== undefined && lastSeen(live) < before) transaction.remove('events', live);
    }
  });
}

function lastSeen(event: Stored): number {
  const times = [
    event.metadata.creationTimestamp ?? '',
    digString(event, 'lastTimestamp'),
    digString(event, 'eventTime'),
    digString(event, 'series', 'lastObservedTime'),
  ];
  return Math.max(...times.map((time) => Date.parse(time)).filter((time) => !Number.isNaN(time)));
}
