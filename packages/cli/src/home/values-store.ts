import {
  type KubeClient,
  type KubeObject,
  MURAL_NAMESPACE,
  type Resource,
  SECRETS,
  type UnstructuredObject,
} from '@mural/kube';
import { isRecord } from '@mural/core';
import { z } from 'zod';

/** Secret that holds the values in force, as `mural up`, Helm or a HelmRelease wrote them. */
export const VALUES_SECRET = 'mural-values';
/** Its keys: what is in force, and during a migration what was before. */
export const VALUES_KEY = 'values.yaml';
/** How findings name the text in the Secret. */
export const VALUES_FILE = `${VALUES_SECRET}/${VALUES_KEY}`;
export const PREVIOUS_KEY = 'previous.yaml';
/** Secret of the home alone: what it took last, so that a start after a kill knows where everything is. */
const TAKEN_SECRET = 'mural-values-applied';
const TAKEN_KEY = 'state.json';

/** What Helm knows the objects of the release `mural` by: with it `helm upgrade` takes over what the home made. */
export const RELEASE_METADATA = {
  labels: { 'app.kubernetes.io/managed-by': 'Helm' },
  annotations: {
    'meta.helm.sh/release-name': 'mural',
    'meta.helm.sh/release-namespace': MURAL_NAMESPACE,
  },
} as const;
/** Labels of the Secret in the chart. */
const LABELS = { 'app.kubernetes.io/name': VALUES_SECRET, 'app.kubernetes.io/part-of': 'mural' };
/** Field manager of what belongs to the release, whoever writes it: Helm 4 applies without force. */
export const RELEASE_MANAGER = 'helm';

/** Former values whose registry some spokes may still read. */
const Former = z.object({
  text: z.string(),
  /** RFC 3339: since when other values are in force. */
  since: z.string(),
});
export type Former = z.infer<typeof Former>;

const Taken = z.object({
  version: z.literal(1),
  /** Absent for the defaults. */
  text: z.string().optional(),
  former: z.array(Former),
});

/** What the home took last, and what of before it still needs. */
export interface StoredState {
  /** `undefined` for the defaults. */
  readonly text: string | undefined;
  readonly former: readonly Former[];
}

/** The texts of a Secret. */
export interface StoredTexts {
  /** Absent where there is no Secret, or it has no such key. */
  readonly current: string | undefined;
  readonly previous: string | undefined;
}

/** The texts that a Secret `mural-values` holds. */
export function textsOf(secret: KubeObject | undefined): StoredTexts {
  return { current: textOf(secret, VALUES_KEY), previous: textOf(secret, PREVIOUS_KEY) };
}

/** One value of a Secret or ConfigMap as text. */
export function textOf(object: KubeObject | undefined, key: string): string | undefined {
  const data = (object as UnstructuredObject | undefined)?.data;
  const value = isRecord(data) ? data[key] : undefined;
  if (typeof value !== 'string') return undefined;
  return object?.kind === 'ConfigMap' ? value : Buffer.from(value, 'base64').toString();
}

/** The values that are kept in the API: encrypted at rest there, as all Secrets. */
export class ValuesStore {
  readonly #client: KubeClient;

  constructor(client: KubeClient) {
    this.#client = client;
  }

  /** The texts of the Secret `mural-values`. */
  async texts(): Promise<StoredTexts> {
    return textsOf(await this.#find(SECRETS, VALUES_SECRET));
  }

  /** Puts values into force: whoever watches the Secret takes them. */
  async write(text: string): Promise<void> {
    const metadata = { ...RELEASE_METADATA, labels: { ...LABELS, ...RELEASE_METADATA.labels } };
    await this.#apply(secret(VALUES_SECRET, VALUES_KEY, text, metadata), RELEASE_MANAGER);
  }

  async taken(): Promise<StoredState | undefined> {
    const text = textOf(await this.#find(SECRETS, TAKEN_SECRET), TAKEN_KEY);
    if (text === undefined) return undefined;
    const parsed = Taken.safeParse(JSON.parse(text));
    return parsed.success ? { text: parsed.data.text, former: parsed.data.former } : undefined;
  }

  async take(taken: StoredState): Promise<void> {
    const state = JSON.stringify({ version: 1, ...taken });
    await this.#apply(secret(TAKEN_SECRET, TAKEN_KEY, state, {}), 'mural-up');
  }

  /** An object of the hub's namespace. */
  async #find(resource: Resource, name: string): Promise<KubeObject | undefined> {
    return await this.#client.find(resource, { name, namespace: MURAL_NAMESPACE });
  }

  async #apply(object: UnstructuredObject, fieldManager: string): Promise<void> {
    await this.#client.apply(SECRETS, object, { fieldManager, force: true });
  }
}

function secret(
  name: string,
  key: string,
  text: string,
  metadata: KubeObject['metadata'],
): UnstructuredObject {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    type: 'Opaque',
    metadata: { ...metadata, name, namespace: MURAL_NAMESPACE },
    data: { [key]: Buffer.from(text).toString('base64') },
  };
}
