import { type Clock, errorMessage, type Logger } from '@mural/core';
import { ROOT_NAME, rootTag } from '@mural/hub';
import { type KubeClient, MURAL_NAMESPACE, OCI_REPOSITORIES, type OCIRepository } from '@mural/kube';
import { applyBootstrap, type RunningSpoke, startSpoke } from '@mural/spoke';
import { VERSION } from '../version.ts';
import { bootstrapObjects } from './bootstrap.ts';

/** What the hub as its own spoke works with. */
export interface OwnSpokeOptions {
  readonly client: KubeClient;
  readonly dataDir: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The hub as its own spoke: the same agent, over the same API, with the bootstrap that any spoke gets. */
export class OwnSpoke {
  readonly #options: OwnSpokeOptions;
  #running: { readonly name: string; readonly spoke: RunningSpoke } | undefined;

  constructor(options: OwnSpokeOptions) {
    this.#options = options;
  }

  /**
   * Runs it under a name, or not at all, with the credentials of the present.
   *
   * @param written URLs that the hub writes. A source that reads one of them is moved, if at all, by
   *   what it reads there, as on any spoke; another one is put right at once.
   * @throws CliError `NotReady` at the first start; later, a bootstrap that fails is told in the log
   */
  async ensure(name: string | undefined, written: readonly string[]): Promise<void> {
    if (this.#running !== undefined && this.#running.name !== name) await this.stop();
    if (name === undefined) return;
    try {
      await this.#bootstrap(name, written);
    } catch (error) {
      if (this.#running === undefined) throw error;
      this.#options.log.warn({ error: errorMessage(error) }, 'the hub could not put its own spoke right');
    }
    if (this.#running !== undefined) return;
    const { client, dataDir, clock, log } = this.#options;
    const spoke = await startSpoke({ client, dataDir, name, hub: { client }, clock, log, version: VERSION });
    this.#running = { name, spoke };
  }

  async stop(): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    await running?.spoke.stop();
  }

  async #bootstrap(name: string, written: readonly string[]): Promise<void> {
    const { client, clock } = this.#options;
    const objects = await bootstrapObjects(client, name, { clock });
    const ref = { name: ROOT_NAME, namespace: MURAL_NAMESPACE };
    const root = await client.find<OCIRepository>(OCI_REPOSITORIES, ref);
    const reads = root?.spec.ref?.tag === rootTag(name) && written.includes(root.spec.url);
    await applyBootstrap(
      client,
      reads ? objects.filter(({ kind }) => kind !== OCI_REPOSITORIES.kind) : objects,
    );
  }
}
