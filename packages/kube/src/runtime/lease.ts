import {
  backoff,
  type Clock,
  isRecord,
  type Logger,
  type Random,
  silentLogger,
  systemClock,
} from '@mural/core';
import type { KubeClient } from '../client.ts';
import { isKubeError } from '../errors.ts';
import type { KubeObject } from '../objects.ts';
import { LEASES } from '../resources.ts';

interface LeaseSpec {
  readonly holderIdentity?: string;
  readonly leaseDurationSeconds?: number;
  readonly acquireTime?: string;
  readonly renewTime?: string;
  readonly leaseTransitions?: number;
}

interface Lease extends KubeObject {
  readonly spec?: LeaseSpec;
}

export interface LeaseOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly name: string;
  /** Who competes; unique per process. */
  readonly identity: string;
  /** Ends it all: the work is aborted, the lease given back. */
  readonly signal: AbortSignal;
  /** Others wait so long for a holder that is silent; 15 s unless given. */
  readonly leaseDurationMs?: number | undefined;
  /** A holder that cannot renew for so long stops its work; 10 s unless given. */
  readonly renewDeadlineMs?: number | undefined;
  /** How often the holder renews and the others look; 2 s unless given. */
  readonly retryPeriodMs?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
  readonly log?: Logger | undefined;
}

/**
 * Runs `work` while holding a lease (`coordination.k8s.io/v1`), by the rules of client-go's leader
 * election: expiry is judged by the local time at which a renewal was seen, never by comparing
 * clocks. When the lease is lost, the work's signal aborts and the competition begins anew.
 * Resolves when `signal` aborts or the work ends by itself; throws what the work throws.
 */
export async function runWithLease(
  options: LeaseOptions,
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const candidate = new Candidate(options);
  while (!options.signal.aborted) {
    if (!(await candidate.acquire())) return;
    const lost = await candidate.hold(work);
    if (!lost) return;
  }
}

class Candidate {
  readonly #options: LeaseOptions;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #durationMs: number;
  readonly #retryMs: number;
  #seen: { readonly renewal: string; readonly at: number } | undefined;

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#log = (options.log ?? silentLogger).child({ lease: `${options.namespace}/${options.name}` });
    this.#durationMs = options.leaseDurationMs ?? 15_000;
    this.#retryMs = options.retryPeriodMs ?? 2000;
  }

  /** Waits until the lease is ours; `false` when the signal aborted first. */
  async acquire(): Promise<boolean> {
    const { signal, identity } = this.#options;
    while (!signal.aborted) {
      if (await this.#try(signal)) {
        this.#log.info({ identity }, 'the lease is held');
        return true;
      }
      await this.#pause(signal);
    }
    return false;
  }

  /** Works and renews; answers whether it ended because the lease was lost. */
  async hold(work: (signal: AbortSignal) => Promise<void>): Promise<boolean> {
    const { signal } = this.#options;
    const controller = new AbortController();
    const onAbort = (): void => controller.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    const renewing = this.#renew(controller);
    try {
      await work(controller.signal);
    } catch (error) {
      if (!controller.signal.aborted) throw error;
    } finally {
      signal.removeEventListener('abort', onAbort);
      controller.abort(new Error('the work has ended'));
      if (!(await renewing)) await this.#release();
    }
    return await renewing;
  }

  /** Renews until the work ends, or aborts it when a renewal is overdue; answers whether it did. */
  async #renew(work: AbortController): Promise<boolean> {
    const { signal } = work;
    const deadlineMs = this.#options.renewDeadlineMs ?? 10_000;
    let renewed = this.#clock.now();
    while (this.#clock.now() - renewed < deadlineMs) {
      await this.#pause(signal);
      const asked = this.#clock.now();
      if (!signal.aborted && (await this.#try(signal))) renewed = asked;
      if (signal.aborted) return false;
    }
    this.#log.warn('the lease is lost');
    work.abort(new Error('the lease is lost'));
    return true;
  }

  async #pause(signal: AbortSignal): Promise<void> {
    const wait = backoff(1, this.#retryMs * 1.2, this.#retryMs * 1.2, this.#options.random ?? Math.random);
    await this.#clock.sleep(wait, signal).catch(() => undefined);
  }

  /** Takes or renews the lease if it is ours, free or expired. */
  async #try(signal: AbortSignal): Promise<boolean> {
    const { client, namespace, name, identity } = this.#options;
    try {
      const lease = await client.find<Lease>(LEASES, { namespace, name }, { signal });
      if (lease === undefined) {
        await client.create<Lease>(LEASES, this.#lease({}, { name, namespace }), { signal });
        return true;
      }
      if (!this.#free(lease.spec ?? {}, identity)) return false;
      await client.replace<Lease>(LEASES, this.#lease(lease.spec ?? {}, lease.metadata), { signal });
      return true;
    } catch (error) {
      if (!signal.aborted && !isKubeError(error, 'Conflict', 'AlreadyExists')) {
        this.#log.warn({ err: error }, 'the lease cannot be taken or renewed');
      }
      return false;
    }
  }

  #free(spec: LeaseSpec, identity: string): boolean {
    const { holderIdentity = '', renewTime = '', leaseDurationSeconds } = spec;
    const renewal = `${holderIdentity} ${renewTime} ${spec.leaseTransitions ?? 0}`;
    if (this.#seen?.renewal !== renewal) this.#seen = { renewal, at: this.#clock.now() };
    if (holderIdentity === identity || holderIdentity === '') return true;
    const durationMs = leaseDurationSeconds === undefined ? this.#durationMs : leaseDurationSeconds * 1000;
    return this.#clock.now() - this.#seen.at > durationMs;
  }

  #lease(before: LeaseSpec, metadata: Lease['metadata'], holder = this.#options.identity): Lease {
    // `metav1.MicroTime` wants six digits.
    const now = `${new Date(this.#clock.now()).toISOString().slice(0, -1)}000Z`;
    const mine = before.holderIdentity === this.#options.identity;
    const transitions = before.leaseTransitions ?? 0;
    return {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata,
      spec: {
        holderIdentity: holder,
        leaseDurationSeconds: Math.max(1, Math.ceil(this.#durationMs / 1000)),
        acquireTime: mine ? (before.acquireTime ?? now) : now,
        renewTime: now,
        leaseTransitions: mine || before.holderIdentity === undefined ? transitions : transitions + 1,
      },
    };
  }

  /** Gives the lease back, so that others need not wait for its expiry. */
  async #release(): Promise<void> {
    const { client, namespace, name, identity } = this.#options;
    try {
      const lease = await client.find<Lease>(LEASES, { namespace, name });
      if (!isRecord(lease?.spec) || lease.spec.holderIdentity !== identity) return;
      await client.replace<Lease>(LEASES, this.#lease(lease.spec, lease.metadata, ''));
    } catch (error) {
      this.#log.debug({ err: error }, 'the lease could not be given back');
    }
  }
}
