import { type Clock, errorMessage, type Logger, type ProcessEnvironment } from '@mural/core';
import { ROOT_NAME, rootTag } from '@mural/hub';
import { type KubeClient, MURAL_NAMESPACE, OCI_REPOSITORIES, type OCIRepository } from '@mural/kube';
import { applyBootstrap, type RunningSpoke, startSpoke } from '@mural/spoke';
import { VERSION } from '../version.ts';
import { bootstrapObjects } from './bootstrap.ts';

/** What the hub as its own spoke works with. */
export interface OwnSpokeOptions {
  readonly client: KubeClient;
  readonly dataDir: string;
  readonly environment: ProcessEnvironment;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What values say of the hub as its own spoke. */
export interface OwnSpokeSettings {
  readonly name: string;
  /** IAM role that its source controller takes on where it has a web identity. */
  readonly roleArn: string | undefined;
}

/** The hub as its own spoke: the same agent, over the same API, with the bootstrap that any spoke gets. */
export class OwnSpoke {
  readonly #options: OwnSpokeOptions;
  #running: (OwnSpokeSettings & { readonly spoke: RunningSpoke }) | undefined;

  constructor(options: OwnSpokeOptions) {
    this.#options = options;
  }

  /**
   * Runs it, or not at all without settings, with the credentials of the present.
   *
   * @param written URLs that the hub writes. A source that reads one of them is moved, if at all, by
   *   what it reads there, as on any spoke; another one is put right at once.
   * @throws CliError `NotReady` at the first start; later, a bootstrap that fails is told in the log
   */
  async ensure(settings: OwnSpokeSettings | undefined, written: readonly string[]): Promise<void> {
    const running = this.#running;
    const same = running?.name === settings?.name && running?.roleArn === settings?.roleArn;
    if (running !== undefined && !same) await this.stop();
    if (settings === undefined) return;
    try {
      await this.#bootstrap(settings.name, written);
    } catch (error) {
      if (running === undefined) throw error;
      this.#options.log.warn({ error: errorMessage(error) }, 'the hub could not put its own spoke right');
    }
    if (this.#running !== undefined) return;
    const { client, dataDir, clock, log } = this.#options;
    const shared = {
      client,
      dataDir,
      clock,
      log,
      version: VERSION,
      environment: this.#environment(settings),
    };
    const spoke = await startSpoke({ ...shared, name: settings.name, hub: { client } });
    this.#running = { ...settings, spoke };
  }

  /** The role of the process is that of hue; the source controller has its own. */
  #environment({ roleArn }: OwnSpokeSettings): ProcessEnvironment {
    const { environment } = this.#options;
    return roleArn === undefined ? environment : { ...environment, AWS_ROLE_ARN: roleArn };
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
