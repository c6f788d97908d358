import type { Clock, Logger, Random } from '@mural/core';
import {
  type Cache,
  type Controller,
  createController,
  formatPublishedRoot,
  type KubeClient,
  PUBLISHED_ROOT_ANNOTATION,
  type PublishedRoot,
  type Spoke,
  SPOKES,
} from '@mural/kube';
import { HEARTBEAT_LIMIT_MS } from '../fleet/heartbeats.ts';

export interface NudgesOptions {
  readonly client: KubeClient;
  readonly spokes: Cache<Spoke>;
  /** What is published for a spoke, if that is known. */
  published(spoke: string): PublishedRoot | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/**
 * Tells connected spokes to look at once. Nothing waits for it: a spoke that was not told looks when its
 * interval is over. Spokes that are silent are told when they are heard again.
 */
export class Nudges {
  readonly #options: NudgesOptions;
  readonly #controller: Controller;

  constructor(options: NudgesOptions) {
    this.#options = options;
    this.#controller = createController<Spoke>({
      name: 'nudges',
      primary: options.spokes,
      changed: (now) => now !== undefined && this.#due(now) !== undefined,
      reconcile: async (name, signal) => this.#nudge(name, signal),
      concurrency: 8,
      backoff: { baseMs: 750, capMs: 60_000 },
      clock: options.clock,
      random: options.random,
      log: options.log,
    });
  }

  start(): void {
    this.#controller.start();
  }

  async stop(): Promise<void> {
    await this.#controller.stop();
  }

  /** Says that something was published for a spoke. */
  enqueue(spoke: string): void {
    this.#controller.enqueue(spoke);
  }

  /** What the annotation of a connected spoke is to be, unless it is so. */
  #due(spoke: Spoke): string | undefined {
    const last = spoke.status?.lastHeartbeatTime;
    if (last === undefined || this.#options.clock.now() - Date.parse(last) > HEARTBEAT_LIMIT_MS) {
      return undefined;
    }
    const published = this.#options.published(spoke.metadata.name ?? '');
    if (published === undefined) return undefined;
    const value = formatPublishedRoot(published);
    return spoke.metadata.annotations?.[PUBLISHED_ROOT_ANNOTATION] === value ? undefined : value;
  }

  /** Only the annotation is written, whoever owns the rest. */
  async #nudge(name: string, signal: AbortSignal): Promise<void> {
    const spoke = this.#options.spokes.get(name);
    const value = spoke === undefined ? undefined : this.#due(spoke);
    if (value === undefined) return;
    await this.#options.client.patch(
      SPOKES,
      { name },
      'merge',
      { metadata: { annotations: { [PUBLISHED_ROOT_ANNOTATION]: value } } },
      { fieldManager: 'hue', signal },
    );
  }
}
