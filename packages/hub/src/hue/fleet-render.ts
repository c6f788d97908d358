import { canonicalJson } from '@mural/core';
import {
  type Environment,
  type LabelSelector,
  type Override,
  type Spoke,
  type WorkloadDeployment,
  type WorkloadProfile,
} from '@mural/kube';
import { RenderError } from '../errors.ts';
import type { ExpressionVariables, SpokeUse } from '../render/expressions.ts';
import { mergeParameters, ParameterSchema } from '../render/parameters.ts';
import type { Rendering } from '../render/types.ts';

/** All that a deployment is rendered from. */
export interface Gathered {
  readonly deployment: WorkloadDeployment;
  readonly profile: WorkloadProfile;
  readonly environment: Environment;
  readonly spokes: readonly Spoke[];
}

/** A rendering, and the spokes that share it. */
export interface SharedRendering {
  readonly rendering: Rendering;
  readonly spokes: readonly string[];
}

export type SelectorMatch = (selector: LabelSelector, labels: Readonly<Record<string, string>>) => boolean;

/** Of all renderings of one deployment together. */
const MAX_RENDERED_BYTES = 512 * 1024 * 1024;
/** Spokes between two turns of the event loop. */
const BATCH = 500;

interface Group {
  readonly params: Record<string, unknown>;
  readonly spokes: Spoke[];
}

/**
 * Renders a deployment for its spokes: once for all that cannot differ. Spokes with equal parameters
 * share a rendering unless an expression of the profile looks at the spoke.
 *
 * @param render renders for one spoke
 * @throws RenderError of the first spoke that fails; the parameters of all are checked before
 */
export async function renderFleet(
  gathered: Gathered,
  matches: SelectorMatch,
  render: (variables: ExpressionVariables) => Promise<Rendering>,
): Promise<SharedRendering[]> {
  const shared: SharedRendering[] = [];
  let bytes = 0;
  for (const group of groupByParameters(gathered, matches)) {
    const byUse = new Map<string, { rendering: Rendering; spokes: string[] }>();
    let use: SpokeUse | undefined;
    for (const [index, spoke] of group.spokes.entries()) {
      if (index % BATCH === BATCH - 1) await new Promise((resolve) => setImmediate(resolve));
      const known = use === undefined ? undefined : byUse.get(shareKey(use, spoke));
      if (known !== undefined) {
        known.spokes.push(nameOf(spoke));
        continue;
      }
      const rendering = await render(variablesFor(gathered, group.params, spoke));
      use = rendering.spokeUse;
      byUse.set(shareKey(use, spoke), { rendering, spokes: [nameOf(spoke)] });
      bytes += rendering.files.reduce((sum, file) => sum + file.content.length, 0);
      if (bytes > MAX_RENDERED_BYTES) {
        throw new RenderError('RenderFailed', `the renderings are larger than ${MAX_RENDERED_BYTES} bytes`, {
          hint: 'Let the profile depend on less of the spoke, so that spokes share a rendering.',
        });
      }
    }
    shared.push(...byUse.values());
  }
  return shared;
}

/** What must be equal for two spokes with equal parameters to share a rendering. */
function shareKey(use: SpokeUse, spoke: Spoke): string {
  if (use === 'none') return '';
  return use === 'labels' ? canonicalJson(spoke.metadata.labels ?? {}) : nameOf(spoke);
}

/**
 * The parameters of each spoke: defaults of the schema, then those of the environment, those of the
 * deployment and the overrides that match, in their order.
 */
function groupByParameters(gathered: Gathered, matches: SelectorMatch): Group[] {
  const { deployment, environment, profile } = gathered;
  const schema = new ParameterSchema(profile.spec.parameters);
  const byOverrides = new Map<string, Group>();
  for (const spoke of gathered.spokes) {
    const overrides = (deployment.spec.overrides ?? []).filter((override) =>
      overrideMatches(override, environment, spoke, matches),
    );
    const key = overrides.map((override) => (deployment.spec.overrides ?? []).indexOf(override)).join();
    const group = byOverrides.get(key);
    if (group !== undefined) {
      group.spokes.push(spoke);
      continue;
    }
    const merged = mergeParameters(
      environment.spec.parameters,
      deployment.spec.parameters,
      ...overrides.map(({ parameters }) => parameters),
    );
    byOverrides.set(key, { params: schema.complete(merged), spokes: [spoke] });
  }
  const byParameters = new Map<string, Group>();
  for (const group of byOverrides.values()) {
    const key = canonicalJson(group.params);
    const same = byParameters.get(key);
    if (same === undefined) byParameters.set(key, group);
    else same.spokes.push(...group.spokes);
  }
  return [...byParameters.values()];
}

/** An override matches when everything it names does; spokes match by name or by label. */
function overrideMatches(
  override: Override,
  environment: Environment,
  spoke: Spoke,
  matches: SelectorMatch,
): boolean {
  if (override.environment !== undefined && override.environment !== environment.metadata.name) return false;
  if (override.spokes === undefined && override.spokeSelector === undefined) return true;
  if (override.spokes?.includes(nameOf(spoke)) === true) return true;
  return override.spokeSelector !== undefined && matches(override.spokeSelector, spoke.metadata.labels ?? {});
}

/** The spokes that an environment chooses, by label or by name, in the order of their names. */
export function selectSpokes(
  environment: Environment,
  spokes: readonly Spoke[],
  matches: SelectorMatch,
): Spoke[] {
  const { spokeSelector, spokes: names } = environment.spec;
  return spokes
    .filter((spoke) => spoke.metadata.deletionTimestamp === undefined)
    .filter(
      (spoke) =>
        names?.includes(nameOf(spoke)) === true ||
        (spokeSelector !== undefined && matches(spokeSelector, spoke.metadata.labels ?? {})),
    )
    .sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
}

function variablesFor(
  gathered: Gathered,
  params: Record<string, unknown>,
  spoke: Spoke,
): ExpressionVariables {
  const { deployment, environment } = gathered;
  return {
    params,
    environment: {
      name: environment.metadata.name ?? '',
      namespace: environment.metadata.namespace ?? '',
      labels: environment.metadata.labels ?? {},
    },
    spoke: { name: nameOf(spoke), labels: spoke.metadata.labels ?? {} },
    deployment: {
      name: deployment.metadata.name ?? '',
      namespace: deployment.metadata.namespace ?? '',
      labels: deployment.metadata.labels ?? {},
    },
  };
}

function nameOf(spoke: Spoke): string {
  return spoke.metadata.name ?? '';
}
