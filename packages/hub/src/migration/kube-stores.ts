import { isRecord } from '@mural/core';
import {
  CONFIG_MAPS,
  isKubeError,
  type KubeClient,
  type KubeObject,
  MURAL_NAMESPACE,
  type Resource,
  SECRETS,
  type Spoke,
  SPOKES,
  type UnstructuredObject,
  WORKLOAD_DEPLOYMENTS,
  WORKLOAD_PROFILES,
  type WorkloadDeployment,
  type WorkloadProfile,
} from '@mural/kube';
import { MigrationError } from './errors.ts';
import { type Fleet, fleetOf } from './fleet.ts';
import type { FleetView, StateStore, StoredValues, ValuesStore, Versioned } from './ports.ts';
import { MIGRATION_CONFIG_MAP, MIGRATION_KEY, type MigrationState, parseMigration } from './state.ts';

/** Secret with the values of the hub: those in force, and during a migration those before. */
const VALUES_SECRET = 'mural-values';
const VALUES_KEY = 'values.yaml';
const PREVIOUS_KEY = 'previous.yaml';
const MANAGER = 'mural-registry-migrate';

/** How the values in force are written, so that whoever else writes them takes no offence. */
export interface ReleaseOwner {
  /** Field manager of `values.yaml`. */
  readonly manager: string;
  /** Labels and annotations of the Secret where it is made anew. */
  readonly metadata: Pick<KubeObject['metadata'], 'labels' | 'annotations'>;
}

/** The state of a migration in its ConfigMap. */
export class KubeStateStore implements StateStore {
  readonly #client: KubeClient;

  constructor(client: KubeClient) {
    this.#client = client;
  }

  async read(signal: AbortSignal): Promise<Versioned<MigrationState>> {
    const object = await this.#client.find<UnstructuredObject>(CONFIG_MAPS, refOf(MIGRATION_CONFIG_MAP), {
      signal,
    });
    if (object === undefined) return { value: undefined, version: undefined };
    const text = dataOf(object)[MIGRATION_KEY];
    const value = parseMigration(text);
    if (value === undefined && text !== undefined) {
      throw new MigrationError(
        'StateUnreadable',
        `the ConfigMap ${MURAL_NAMESPACE}/${MIGRATION_CONFIG_MAP} does not hold the state of a migration`,
        { hint: 'A newer mural may have written it. Use that, or repair it from a backup.' },
      );
    }
    return { value, version: object.metadata.resourceVersion };
  }

  async write(state: MigrationState, version: string | undefined, signal: AbortSignal): Promise<string> {
    const object: UnstructuredObject = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: {
        ...refOf(MIGRATION_CONFIG_MAP),
        ...(version === undefined ? {} : { resourceVersion: version }),
      },
      data: { [MIGRATION_KEY]: JSON.stringify(state, null, 2) },
    };
    const options = { fieldManager: MANAGER, signal };
    const written = await unlessChanged('the state of the migration', async () =>
      version === undefined
        ? this.#client.create(CONFIG_MAPS, object, options)
        : this.#client.replace(CONFIG_MAPS, object, options),
    );
    return written.metadata.resourceVersion ?? '';
  }
}

/** The values of the hub in their Secret; without one, the hub works with the defaults. */
export class KubeValuesStore implements ValuesStore {
  readonly #client: KubeClient;
  readonly #owner: ReleaseOwner;

  constructor(client: KubeClient, owner: ReleaseOwner) {
    this.#client = client;
    this.#owner = owner;
  }

  async read(signal: AbortSignal): Promise<Versioned<StoredValues>> {
    const object = await this.#client.find<UnstructuredObject>(SECRETS, refOf(VALUES_SECRET), { signal });
    const data = object === undefined ? {} : dataOf(object);
    const text = (key: string) => (data[key] === undefined ? undefined : decoded(data[key]));
    return {
      value: { current: text(VALUES_KEY) ?? '', previous: text(PREVIOUS_KEY) },
      version: object?.metadata.resourceVersion,
    };
  }

  async write(values: StoredValues, version: string | undefined, signal: AbortSignal): Promise<void> {
    const stored = (await this.read(signal)).value;
    let next = version;
    await unlessChanged('the values of the hub', async () => {
      // What was before is kept first: a kill between the two leaves the values in force as they were.
      if (values.previous !== undefined && values.previous !== stored?.previous) {
        next = await this.#apply(PREVIOUS_KEY, values.previous, MANAGER, next, signal);
      }
      if (values.current !== stored?.current) {
        next = await this.#apply(VALUES_KEY, values.current ?? '', this.#owner.manager, next, signal);
      }
      if (values.previous !== undefined || stored?.previous === undefined) return;
      await this.#client.patch(
        SECRETS,
        refOf(VALUES_SECRET),
        'merge',
        { metadata: { resourceVersion: next }, data: { [PREVIOUS_KEY]: null } },
        { fieldManager: MANAGER, signal },
      );
    });
  }

  async #apply(
    key: string,
    text: string,
    fieldManager: string,
    version: string | undefined,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const metadata = {
      ...(key === VALUES_KEY ? this.#owner.metadata : {}),
      ...refOf(VALUES_SECRET),
      ...(version === undefined ? {} : { resourceVersion: version }),
    };
    const object: UnstructuredObject = {
      apiVersion: 'v1',
      kind: 'Secret',
      type: 'Opaque',
      metadata,
      data: { [key]: Buffer.from(text).toString('base64') },
    };
    const applied = await this.#client.apply(SECRETS, object, { fieldManager, force: true, signal });
    return applied.metadata.resourceVersion;
  }
}

/** The fleet as the API of the hub has it. */
export class KubeFleetView implements FleetView {
  readonly #client: KubeClient;

  constructor(client: KubeClient) {
    this.#client = client;
  }

  async read(signal: AbortSignal): Promise<Fleet> {
    const list = async <T extends KubeObject>(resource: Resource): Promise<readonly T[]> =>
      (await this.#client.list<T>(resource, { signal, pageSize: 500 })).items;
    const [spokes, deployments, profiles] = await Promise.all([
      list<Spoke>(SPOKES),
      list<WorkloadDeployment>(WORKLOAD_DEPLOYMENTS),
      list<WorkloadProfile>(WORKLOAD_PROFILES),
    ]);
    return fleetOf({ spokes, deployments, profiles });
  }
}

function refOf(name: string) {
  return { name, namespace: MURAL_NAMESPACE };
}

function dataOf(object: UnstructuredObject): Readonly<Record<string, string>> {
  const data = object['data'];
  if (!isRecord(data)) return {};
  return Object.fromEntries(
    Object.entries(data).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}

function decoded(base64: string): string {
  return Buffer.from(base64, 'base64').toString('utf8');
}

async function unlessChanged<T>(what: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    if (!isKubeError(error, 'Conflict', 'AlreadyExists')) throw error;
    throw new MigrationError('Interleaved', `somebody else has changed ${what} meanwhile`, {
      cause: error,
      hint: 'Is the command running elsewhere, too? Run this again when nobody else does.',
      retryable: true,
    });
  }
}
