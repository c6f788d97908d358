import { type KubeClient, MURAL_API_VERSION, type Spoke, SPOKES, type SpokeSpec } from '@mural/kube';
import { isRecord } from '@mural/core';
import type { SpokeValues, Values } from '@mural/values';

const DEFAULT_HUB_SPOKE = 'hub';
/** Label of the hub as its own spoke, when the values give it none: something to select it by. */
const DEFAULT_HUB_LABELS = { tier: 'hub' };
const MANAGER = 'mural-values';
/** On the Spoke that nobody asked for: it goes when the values say what spokes there are. */
const DEFAULT_SPOKE_ANNOTATION = 'mural.dev/default-spoke';

/**
 * Which of the spokes is the hub itself: the one whose kubeconfig is `inCluster`, else the one named
 * `hub` or `hub-as-spoke`. Without any spokes in the values it is `hub`.
 */
export function hubSpokeName(values: Values): string | undefined {
  const { spokes } = values.fleetConfig;
  if (spokes.length === 0) return DEFAULT_HUB_SPOKE;
  const inCluster = spokes.find((spoke) => isRecord(spoke.kubeconfig) && spoke.kubeconfig.inCluster === true);
  return (inCluster ?? spokes.find(({ name }) => [DEFAULT_HUB_SPOKE, 'hub-as-spoke'].includes(name)))?.name;
}

/**
 * Makes the Spoke objects that the values name. What the values say wins over what was changed by
 * hand; what they do not say is left alone, and so are spokes that they do not name, but for the one
 * that was made because they named none.
 *
 * @param valuesOf the values that say which registry a spoke reads: others than `values` for a spoke
 *   that has not been moved yet
 */
export async function ensureSpokes(
  client: KubeClient,
  values: Values,
  valuesOf: (spoke: string) => Values = () => values,
): Promise<void> {
  const own = hubSpokeName(values);
  if (values.fleetConfig.spokes.length === 0 && own !== undefined) {
    const present = await client.find(SPOKES, { name: own });
    if (present === undefined) {
      const made = spokeObject(own, DEFAULT_HUB_LABELS, undefined);
      await client.create(SPOKES, {
        ...made,
        metadata: { ...made.metadata, annotations: { [DEFAULT_SPOKE_ANNOTATION]: 'true' } },
      });
    }
    return;
  }
  for (const spoke of values.fleetConfig.spokes) {
    const labels = spoke.labels ?? (spoke.name === own ? DEFAULT_HUB_LABELS : undefined);
    const registry = valuesOf(spoke.name).fleetConfig.spokes.find(({ name }) => name === spoke.name);
    const object = spokeObject(spoke.name, labels, registryOf(registry));
    await client.apply(SPOKES, object, { fieldManager: MANAGER, force: true });
  }
  if (!values.fleetConfig.spokes.some(({ name }) => name === DEFAULT_HUB_SPOKE)) await retireDefault(client);
}

/** The hub is its own spoke under another name now, or none at all: nobody would ever report for this one. */
async function retireDefault(client: KubeClient): Promise<void> {
  const ref = { name: DEFAULT_HUB_SPOKE };
  const present = await client.find<Spoke>(SPOKES, ref);
  if (present?.metadata.annotations?.[DEFAULT_SPOKE_ANNOTATION] === 'true') await client.delete(SPOKES, ref);
}

/** A Spoke object. */
export function spokeObject(
  name: string,
  labels: Readonly<Record<string, string>> | undefined,
  spec: SpokeSpec | undefined,
): Spoke {
  return {
    apiVersion: MURAL_API_VERSION,
    kind: 'Spoke',
    metadata: { name, ...(labels === undefined ? {} : { labels }) },
    ...(spec === undefined ? {} : { spec }),
  };
}

function registryOf(spoke: SpokeValues | undefined): SpokeSpec | undefined {
  const registry = spoke?.ociRegistry;
  if (registry?.endpoint === undefined || registry.repository === undefined) return undefined;
  const { endpoint, repository, insecure, provider, ca } = registry;
  return {
    ociRegistry: { endpoint, repository, insecure, provider, ...(ca === undefined ? {} : { ca }) },
  };
}
