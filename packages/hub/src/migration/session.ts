import { rfc3339 } from '@mural/core';
import type { MigrationError } from './errors.ts';
import type { Fleet } from './fleet.ts';
import type { MigrationEnd, MigrationPlan, MigrationPorts, MigrationStep } from './ports.ts';
import type { MigrationPhase, MigrationSide, MigrationState } from './state.ts';

/** Which way spokes go, and what the phases of that way are called. */
export interface Direction {
  /** The end that everything goes to. */
  readonly target: MigrationSide;
  readonly source: MigrationSide;
  readonly copying: MigrationPhase;
  readonly hub: MigrationPhase;
  readonly spokes: MigrationPhase;
  readonly done: MigrationPhase;
}

export const FORWARD: Direction = {
  target: 'to',
  source: 'from',
  copying: 'Copying',
  hub: 'SwitchingHub',
  spokes: 'SwitchingSpokes',
  done: 'Completed',
};

export const BACK: Direction = {
  target: 'from',
  source: 'to',
  copying: 'CopyingBack',
  hub: 'RevertingHub',
  spokes: 'RevertingSpokes',
  done: 'RolledBack',
};

/** One run of a migration: its state as it was last written, and what this run has seen. */
export class Session {
  readonly plan: MigrationPlan;
  readonly ports: MigrationPorts;
  readonly direction: Direction;
  readonly signal: AbortSignal;
  /** References that were found whole at the target in this run. */
  readonly verified = new Set<string>();
  #state: MigrationState;
  #version: string | undefined;

  constructor(
    world: { readonly plan: MigrationPlan; readonly ports: MigrationPorts; readonly signal: AbortSignal },
    direction: Direction,
    stored: { readonly state: MigrationState; readonly version: string | undefined },
  ) {
    this.plan = world.plan;
    this.ports = world.ports;
    this.signal = world.signal;
    this.direction = direction;
    this.#state = stored.state;
    this.#version = stored.version;
  }

  get state(): MigrationState {
    return this.#state;
  }

  /** The end that everything goes to, and the one that it leaves. */
  get target(): MigrationEnd {
    return this.plan[this.direction.target];
  }

  get source(): MigrationEnd {
    return this.plan[this.direction.source];
  }

  /**
   * Changes the state, here and in its store.
   *
   * @throws MigrationError `Interleaved` when somebody else has changed it
   */
  async update(change: Partial<MigrationState>): Promise<void> {
    const { states, clock } = this.ports;
    const state = { ...this.#state, ...change, updatedAt: rfc3339(clock.now()) };
    this.#version = await states.write(state, this.#version, this.signal);
    this.#state = state;
  }

  async fleet(): Promise<Fleet> {
    return await this.ports.fleet.read(this.signal);
  }

  step(step: MigrationStep, message: string): void {
    this.ports.progress({ type: 'step', step, message });
  }

  warn(message: string): void {
    this.ports.progress({ type: 'warning', message });
  }

  /**
   * Asks again until the answer is nothing more to wait for, or the time of the plan is up.
   *
   * @param ask says why it is not there yet
   * @param late makes the error out of the last answer
   */
  async until(ask: () => Promise<string | undefined>, late: (why: string) => MigrationError): Promise<void> {
    const { clock } = this.ports;
    const end = clock.now() + this.plan.timeoutMs;
    for (;;) {
      this.signal.throwIfAborted();
      const why = await ask();
      if (why === undefined) return;
      if (clock.now() >= end) throw late(why);
      await clock.sleep(this.plan.pollMs, this.signal);
    }
  }
}
