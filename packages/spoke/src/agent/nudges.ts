import { type Clock, jitter, type Logger, type Random } from '@mural/core';
import {
  type Cache,
  type KubeClient,
  MURAL_NAMESPACE,
  OCI_REPOSITORIES,
  type OCIRepository,
  parsePublishedRoot,
  RECONCILE_REQUEST_ANNOTATION,
} from '@mural/kube';
import { digestOfRevision } from '../apply/run.ts';
import { GROUP_NAME, ROOT_NAME } from './report.ts';

/** What {@link Nudges} need. */
export interface NudgesOptions {
  /** The spoke's own API. */
  readonly client: KubeClient;
  readonly sources: Cache<OCIRepository>;
  readonly fieldManager: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Ends everything. */
  readonly signal: AbortSignal;
}

/**
 * How long after a nudge the next one comes, in milliseconds, while a source has not found what was
 * published: it may read a mirror, which serves a tag for a while without asking upstream. A minute, as it
 * usually is, is over at the second. After the last the interval of the source does it.
 */
const AGAIN_MS = [15_000, 50_000, 60_000, 120_000];

/** Asks the sources of a spoke to look at once for what the hub has published. Delivery does not need it. */
export class Nudges {
  readonly #options: NudgesOptions;
  /** What was last asked for, by source. */
  readonly #asked = new Map<string, string>();
  readonly #running = new Set<Promise<void>>();

  constructor(options: NudgesOptions) {
    this.#options = options;
  }

  /** Waits for what is under way to end, after the signal has ended it. */
  async stopped(): Promise<void> {
    await Promise.all(this.#running);
  }

  /**
   * Nudges the sources that have something else stored than what was published.
   *
   * @param text what the Spoke says was published, if anything
   */
  compare(text: string | undefined): void {
    if (text === undefined) return;
    const { root, group } = parsePublishedRoot(text);
    this.#compare(ROOT_NAME, root);
    if (group !== undefined) this.#compare(GROUP_NAME, group);
  }

  #compare(source: string, published: string): void {
    if (this.#asked.get(source) === published || !this.#differs(source, published)) return;
    this.#asked.set(source, published);
    const nudging = this.#nudge(source, published).finally(() => this.#running.delete(nudging));
    this.#running.add(nudging);
  }

  #differs(source: string, published: string): boolean {
    const found = this.#options.sources.get(`${MURAL_NAMESPACE}/${source}`);
    if (found === undefined) return false;
    const stored = found.status?.artifact?.revision;
    return stored === undefined || digestOfRevision(stored) !== published;
  }

  /** Asks until the source has found it, or has been asked often enough. */
  async #nudge(source: string, published: string): Promise<void> {
    const { clock, random, signal } = this.#options;
    for (const ms of [...AGAIN_MS, undefined]) {
      if (!(await this.#request(source, published)) || ms === undefined) return;
      try {
        await clock.sleep(jitter(ms, 0.1, random), signal);
      } catch {
        return;
      }
      if (this.#asked.get(source) !== published || !this.#differs(source, published)) return;
    }
  }

  async #request(source: string, published: string): Promise<boolean> {
    const { client, clock, fieldManager, log, signal } = this.#options;
    const asked = `${new Date(clock.now()).toISOString()} ${published}`;
    const body = { metadata: { annotations: { [RECONCILE_REQUEST_ANNOTATION]: asked } } };
    const ref = { namespace: MURAL_NAMESPACE, name: source };
    try {
      await client.patch(OCI_REPOSITORIES, ref, 'merge', body, { fieldManager, signal });
      return true;
    } catch (error) {
      // The interval of the source does the same a little later.
      if (this.#asked.get(source) === published) this.#asked.delete(source);
      if (!signal.aborted) log.warn({ err: error, source }, 'a source could not be asked to reconcile');
      return false;
    }
  }
}
