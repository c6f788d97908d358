import { type Clock, systemClock } from '@mural/core';
import type { KubeClient } from '../client.ts';
import { KubeError } from '../errors.ts';
import type { Condition, KubeObject } from '../objects.ts';
import { CUSTOM_RESOURCE_DEFINITIONS } from '../resources.ts';
import { isTrue } from '../runtime/conditions.ts';
import { customResourceDefinitions } from './definitions.ts';

interface Definition extends KubeObject {
  readonly status?: { readonly conditions?: readonly Condition[] };
}

const POLL_MS = 100;

/**
 * Applies {@link customResourceDefinitions} and waits until the API serves them.
 *
 * @param options.timeoutMs how long to wait for that, 30 s unless given
 * @throws KubeError `Timeout` naming the definitions that were not established in time
 */
export async function installCrds(
  client: KubeClient,
  options: {
    readonly fieldManager?: string;
    readonly timeoutMs?: number;
    readonly clock?: Clock;
    readonly signal?: AbortSignal;
  } = {},
): Promise<void> {
  const { fieldManager = 'mural', timeoutMs = 30_000, clock = systemClock, signal } = options;
  const pending = new Set<string>();
  for (const definition of customResourceDefinitions()) {
    await client.apply(CUSTOM_RESOURCE_DEFINITIONS, definition, { fieldManager, force: true, signal });
    pending.add(definition.metadata.name ?? '');
  }
  const end = clock.now() + timeoutMs;
  for (;;) {
    for (const name of pending) {
      const stored = await client.find<Definition>(CUSTOM_RESOURCE_DEFINITIONS, { name }, { signal });
      if (isTrue(stored?.status?.conditions, 'Established')) pending.delete(name);
    }
    if (pending.size === 0) return;
    if (clock.now() >= end) {
      throw new KubeError('Timeout', `the API does not serve ${[...pending].join(', ')} yet`);
    }
    await clock.sleep(POLL_MS, signal);
  }
}
