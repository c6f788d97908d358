import { type Clock, jitter, jsonEqual, type Logger, type Random } from '@mural/core';
import {
  type Cache,
  type Controller,
  createController,
  isKubeError,
  type KubeClient,
  NAMESPACES,
  type ReconcileResult,
  type Spoke,
  SPOKES,
} from '@mural/kube';
import { type Credential, parseRepositoryUrl, type RegistryLogin } from '@mural/oci';
import type { SpokeRegistrySettings } from '../settings.ts';
import { accountObjects } from './account-objects.ts';
import { SPOKE_FINALIZER } from './names.ts';

/** The accounts of spokes in registries: readers of the workloads. */
export interface SpokeAccounts {
  /**
   * The account of a spoke in the registry that it reads, made if there is none; `undefined` where it
   * reads without one.
   *
   * @param host `host[:port]` of that registry, which need not be the hub's: a site may have a mirror
   */
  ensure(spoke: string, host: string): Promise<Credential | undefined>;
  /**
   * Its accounts in other registries: while a fleet moves from one to another a spoke needs both, or
   * what it reads first would lock it out of the rest.
   */
  others?(spoke: string, host: string): Promise<readonly RegistryLogin[]>;
  /** Ends the account of a spoke; nothing when there is none. */
  remove(spoke: string): Promise<void>;
}

export interface FleetAccountsOptions {
  readonly client: KubeClient;
  readonly spokes: Cache<Spoke>;
  readonly namespace: string;
  readonly accounts: SpokeAccounts | undefined;
  spokeRegistry(spoke: Spoke): SpokeRegistrySettings;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** How often accounts are put right although no Spoke changed. */
const INTERVAL_MS = 10 * 60_000;

/** Keeps for every Spoke what it needs to reach hub and registry, and takes it back when the Spoke goes. */
export class FleetAccounts {
  readonly #options: FleetAccountsOptions;
  readonly #controller: Controller;

  constructor(options: FleetAccountsOptions) {
    this.#options = options;
    this.#controller = createController<Spoke>({
      name: 'fleet',
      primary: options.spokes,
      changed: concernsAccounts,
      reconcile: async (key, signal) => this.#reconcile(key, signal),
      concurrency: 4,
      backoff: { baseMs: 500, capMs: 60_000 },
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

  /** Asks for a turn of every spoke. */
  refresh(): void {
    for (const { metadata } of this.#options.spokes.list()) this.#controller.enqueue(metadata.name ?? '');
  }

  async #reconcile(name: string, signal: AbortSignal): Promise<ReconcileResult | undefined> {
    const spoke = await this.#options.client.find<Spoke>(SPOKES, { name }, { signal });
    if (spoke === undefined) return undefined;
    const finalizers = spoke.metadata.finalizers ?? [];
    const claimed = finalizers.includes(SPOKE_FINALIZER);
    if (spoke.metadata.deletionTimestamp !== undefined) {
      if (!claimed) return undefined;
      await this.#remove(name, signal);
      await this.#setFinalizers(
        spoke,
        finalizers.filter((finalizer) => finalizer !== SPOKE_FINALIZER),
        signal,
      );
      return undefined;
    }
    if (!claimed) await this.#setFinalizers(spoke, [...finalizers, SPOKE_FINALIZER], signal);
    await this.#ensure(spoke, name, signal);
    return { requeueAfterMs: jitter(INTERVAL_MS, 0.1, this.#options.random) };
  }

  async #ensure(spoke: Spoke, name: string, signal: AbortSignal): Promise<void> {
    const { accounts, client, namespace } = this.#options;
    await this.#ensureNamespace(signal);
    const { registry: host } = parseRepositoryUrl(this.#options.spokeRegistry(spoke).url);
    const credential = await accounts?.ensure(name, host);
    const own = credential === undefined ? [] : [{ host, credential }];
    const logins = [...own, ...((await accounts?.others?.(name, host)) ?? [])];
    for (const { resource, object } of accountObjects(name, namespace, logins)) {
      await client.apply(resource, object, { fieldManager: 'hue', force: true, signal });
    }
  }

  async #ensureNamespace(signal: AbortSignal): Promise<void> {
    const { client, namespace: name } = this.#options;
    if ((await client.find(NAMESPACES, { name }, { signal })) !== undefined) return;
    const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } };
    await client.apply(NAMESPACES, object, { fieldManager: 'hue', signal });
  }

  async #remove(name: string, signal: AbortSignal): Promise<void> {
    const { accounts, client, namespace } = this.#options;
    // Whether it has a registry Secret does not matter: what is not there need not go. Its content is not read.
    const nobody = { host: 'registry', credential: { username: '', password: '' } };
    for (const { resource, object } of accountObjects(name, namespace, [nobody]).reverse()) {
      const ref = { name: object.metadata.name ?? '', namespace: object.metadata.namespace };
      try {
        await client.delete(resource, ref, { signal });
      } catch (error) {
        if (!isKubeError(error, 'NotFound')) throw error;
      }
    }
    await accounts?.remove(name);
  }

  async #setFinalizers(spoke: Spoke, finalizers: readonly string[], signal: AbortSignal): Promise<void> {
    const { name = '', resourceVersion } = spoke.metadata;
    await this.#options.client.patch(
      SPOKES,
      { name },
      'merge',
      { metadata: { resourceVersion, finalizers } },
      { fieldManager: 'hue', signal },
    );
  }
}

/** Heartbeats, nudges and labels change nothing here. */
function concernsAccounts(now: Spoke | undefined, before: Spoke | undefined): boolean {
  return (
    now?.metadata.uid !== before?.metadata.uid ||
    now?.metadata.deletionTimestamp !== before?.metadata.deletionTimestamp ||
    !jsonEqual(now?.spec, before?.spec)
  );
}
