import { rm } from 'node:fs/promises';
import { FakeClock } from '@mural/core/testing';
import { type EventRecorder, EVENTS, type KubeObject, type UnstructuredObject } from '@mural/kube';
import { createFakeKubeApi, type FakeKubeApi } from '@mural/kube/testing';

/** An event as tests compare it. */
export interface SeenEvent {
  readonly type: string;
  readonly reason: string;
  readonly message: string;
  readonly annotations: Readonly<Record<string, string>>;
}

/** A controller over an API in memory, with a clock that tests drive and a folder of its own. */
export abstract class ControllerBed {
  readonly clock = new FakeClock();
  readonly api: FakeKubeApi = createFakeKubeApi({ clock: this.clock });
  readonly dataDir: string;
  /** What the controller answers for `Math.random`: a half makes jitter nothing. */
  random = 0.5;
  #events: EventRecorder | undefined;
  #stops: readonly (() => Promise<void>)[] = [];

  protected constructor(dataDir: string) {
    this.dataDir = dataDir;
  }

  /** Notes what was started, in the order in which it is to be stopped. */
  protected started(events: EventRecorder, stops: readonly (() => Promise<void>)[]): void {
    this.#events = events;
    this.#stops = [...stops, async () => events.flush()];
  }

  /** Stops the controller and leaves API and disk as they are, as for a restart. */
  async halt(): Promise<void> {
    for (const stop of this.#stops) await stop();
    this.#stops = [];
  }

  async close(): Promise<void> {
    this.api.intercept = undefined;
    await this.halt();
    await rm(this.dataDir, { recursive: true, force: true });
  }

  /** Events about one object, oldest first, when all are written. */
  protected async eventsAbout(name: string): Promise<SeenEvent[]> {
    await this.#events?.flush();
    return this.api
      .stored<UnstructuredObject & SeenEvent & { readonly involvedObject: KubeObject['metadata'] }>(EVENTS)
      .filter(({ involvedObject }) => involvedObject.name === name)
      .map(({ type, reason, message, metadata }) => ({
        type,
        reason,
        message,
        annotations: metadata.annotations ?? {},
      }));
  }
}
