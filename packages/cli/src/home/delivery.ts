import { errorMessage, jsonEqual, type ProcessEnvironment } from '@mural/core';
import { type Hub, type MigrationState, startHub, type SpokeRegistrySettings } from '@mural/hub';
import { type KubeClient, MURAL_NAMESPACE, type Spoke } from '@mural/kube';
import { dockerConfigOf } from '@mural/oci';
import type { Values } from '@mural/values';
import { publishDirectory } from './directory.ts';
import type { EmbeddedRegistry } from './embedded-registry.ts';
import type { Home } from './home.ts';
import { type OpenedRegistry, openRegistry } from './opened-registry.ts';
import type { OwnSpoke, OwnSpokeSettings } from './own-spoke.ts';
import { chooseRegistry, embeddedRepository, placeOf, roleOf, usesEmbedded } from './registry-choice.ts';
import { writePrivate } from './secrets.ts';
import { type RegistryEnd, SpokeRegistries } from './spoke-registries.ts';
import { ensureSpokes, hubSpokeName } from './spokes.ts';
import { publishAccounts, serviceAccountsOf } from './workers.ts';

/** What is to be delivered, and through which registries. */
export interface DeliveryPlan {
  readonly values: Values;
  /** Values whose registries are still read by some spokes; each names another repository. */
  readonly others: readonly Values[];
  readonly migration: MigrationState | undefined;
  /** Spokes that somebody said can read where they are sent, although they do not report so. */
  readonly assumed: readonly string[];
  /** Whether the embedded registry serves, be it used or not. */
  readonly runEmbedded: boolean;
}

/** What a delivery works with. */
export interface DeliveryOptions extends Pick<Home, 'clock' | 'layout' | 'logs'> {
  /** Acts as the home itself. */
  readonly client: KubeClient;
  /** Acts as hue. */
  readonly hue: KubeClient;
  readonly embedded: EmbeddedRegistry;
  readonly ownSpoke: OwnSpoke;
  /** How spokes reach the API of the hub. */
  readonly hub: { readonly server: string; readonly ca: string };
  readonly externalCa: string | undefined;
  readonly environment: ProcessEnvironment;
  readonly renderers: { readonly helm?: string; readonly kustomize?: string };
}

interface Running {
  readonly plan: DeliveryPlan;
  readonly spokes: SpokeRegistries;
  readonly hub: Hub;
}

/**
 * The part of a home that follows from its values: the registries, what spokes are told of them, and
 * the hub's controllers. It is put up anew when they change, while the rest of the home goes on.
 */
export class Delivery {
  readonly #options: DeliveryOptions;
  #running: Running | undefined;

  constructor(options: DeliveryOptions) {
    this.#options = options;
  }

  /** The registry that the hub writes: `https://host:port`. */
  get registryUrl(): string | undefined {
    return this.#running?.spokes.registries[0]?.url;
  }

  /** How a spoke reaches the registry that it is told to read. */
  settingsOf(spoke: Spoke): SpokeRegistrySettings | undefined {
    return this.#running?.spokes.settingsOf(spoke);
  }

  /** `host:port` of the embedded registry while it serves. */
  get embeddedHost(): string | undefined {
    return this.#options.embedded.serving?.host;
  }

  /**
   * Brings everything to what the plan says. Calls must not overlap. When it throws, what ran before
   * runs again.
   *
   * @throws CliError `AddressInUse`; OciError of a registry that cannot be opened; KubeError
   */
  async apply(plan: DeliveryPlan): Promise<void> {
    const before = this.#running;
    const spokes = await this.#open(plan);
    const obsolete = closable(before?.spokes.registries ?? [], spokes.registries);
    try {
      await this.#put(plan, spokes, before);
    } catch (error) {
      await this.#restore(before, error);
      await closeAll(closable(spokes.registries, before?.spokes.registries ?? []));
      throw error;
    }
    await closeAll(obsolete);
    if (!plan.runEmbedded) await this.#options.embedded.stop();
  }

  async stop(): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    await running?.hub.stop();
    await closeAll(running?.spokes.registries ?? []);
  }

  /** Opens the registries; what is open already is kept, with its connections and tokens. */
  async #open(plan: DeliveryPlan): Promise<SpokeRegistries> {
    const { embedded, externalCa, environment, clock, logs } = this.#options;
    const documents = [plan.values, ...plan.others];
    const serving = plan.runEmbedded ? await embedded.start(repositoriesOf(documents)) : undefined;
    const opened = [...(this.#running?.spokes.registries ?? [])];
    const kept = (identity: string) => opened.find((one) => one.identity === identity)?.hub.client;
    const open = (values: Values): RegistryEnd => {
      const log = logs.controllers.hue;
      const registry = openRegistry({
        ...{ values, externalCa, environment, kept, clock, log },
        embedded: serving,
      });
      opened.push(registry);
      return { values, registry };
    };
    const current = open(plan.values);
    const others = plan.others.flatMap((values) => {
      try {
        return [open(values)];
      } catch (error) {
        const registry = placeOf(values);
        logs.main.warn({ registry, error: errorMessage(error) }, 'a former registry cannot be opened');
        return [];
      }
    });
    return new SpokeRegistries([current, ...others], plan.migration);
  }

  async #put(plan: DeliveryPlan, spokes: SpokeRegistries, before: Running | undefined): Promise<void> {
    const { client, hub, layout, ownSpoke, embedded, externalCa } = this.#options;
    const same = before !== undefined && jsonEqual(identities(before.spokes), identities(spokes));
    if (before !== undefined && !same) await before.hub.stop();
    await publishAccounts(client, serviceAccountsOf(plan.values), { released: true });
    await publishDirectory(client, {
      registries: spokes.directory,
      registryCa: bundle(embedded.serving?.ca, externalCa),
      hub,
    });
    await writePrivate(layout.dockerConfig, dockerConfigOf(logins(spokes, embedded)));
    await ensureSpokes(client, plan.values, (name) => spokes.endOf(name).values);
    this.#running = { plan, spokes, hub: same ? before.hub : await this.#startHub(spokes) };
    if (same) before.hub.refresh();
    const urls = spokes.registries.map((registry) => registry.hub.url);
    await ownSpoke.ensure(ownSpokeOf(plan.values), urls);
  }

  async #startHub(spokes: SpokeRegistries): Promise<Hub> {
    const { hue, renderers, clock, logs } = this.#options;
    const latest = (): SpokeRegistries => this.#running?.spokes ?? spokes;
    return await startHub({
      client: hue,
      namespace: MURAL_NAMESPACE,
      registries: spokes.registries.map((registry) => registry.hub),
      spokeRegistry: (spoke) => latest().settingsOf(spoke),
      assumedMoved: ({ metadata }) => this.#running?.plan.assumed.includes(metadata.name ?? '') === true,
      accounts: {
        ensure: async (spoke, host) => latest().accounts.ensure(spoke, host),
        others: async (spoke, host) => (await latest().accounts.others?.(spoke, host)) ?? [],
        remove: async (spoke) => latest().accounts.remove(spoke),
      },
      renderers,
      clock,
      log: logs.controllers.hue,
    });
  }

  async #restore(before: Running | undefined, cause: unknown): Promise<void> {
    if (before === undefined) return;
    const { logs } = this.#options;
    logs.main.warn({ error: errorMessage(cause) }, 'the former delivery is put up again');
    // Whichever hub runs now; stopping one that is stopped does nothing.
    await this.#running?.hub.stop();
    this.#running = before;
    this.#running = { ...before, hub: await this.#startHub(before.spokes) };
  }
}

function ownSpokeOf(values: Values): OwnSpokeSettings | undefined {
  const name = hubSpokeName(values);
  const roleArn = roleOf(values.flux2.sourceController.serviceAccount);
  return name === undefined ? undefined : { name, roleArn };
}

/** What two hubs must agree in to be the same. */
function identities(spokes: SpokeRegistries): readonly string[] {
  return spokes.registries.map(({ identity }) => identity);
}

function closable(all: readonly OpenedRegistry[], kept: readonly OpenedRegistry[]): OpenedRegistry[] {
  return all.filter(({ hub }) => !kept.some((other) => other.hub.client === hub.client));
}

async function closeAll(registries: readonly OpenedRegistry[]): Promise<void> {
  await Promise.all(registries.map(async ({ hub }) => hub.client.close()));
}

/** The repositories of the embedded registry that the hub writes or would write. */
function repositoriesOf(documents: readonly Values[]): string[] {
  const users = documents.filter(usesEmbedded);
  const chosen = users.length > 0 ? users : documents.slice(0, 1);
  return [...new Set(chosen.map((values) => embeddedRepository(chooseRegistry(values).repository)))];
}

function logins(spokes: SpokeRegistries, embedded: EmbeddedRegistry) {
  const opened = spokes.registries.flatMap(({ login }) => login ?? []);
  const { serving } = embedded;
  const own = serving === undefined ? [] : [{ host: serving.host, credential: serving.admin }];
  return [...opened, ...own];
}

function bundle(...certificates: readonly (string | undefined)[]): string | undefined {
  const present = certificates.filter((pem) => pem !== undefined).map((pem) => pem.trimEnd());
  return present.length === 0 ? undefined : `${present.join('\n')}\n`;
}
