import { createHash } from 'node:crypto';
import { canonicalJson, mapLimit } from '@mural/core';
import {
  matchesSelector,
  RECONCILE_REQUEST_ANNOTATION,
  type ReconcileError,
  type Spoke,
  type Step,
  type WorkloadDeployment,
} from '@mural/kube';
import { packArtifact, type PackedArtifact } from '@mural/oci';
import type { ExpressionVariables } from '../render/expressions.ts';
import type { Rendering, Renderers } from '../render/types.ts';
import type { RenderThread } from '../render/thread.ts';
import type { ArtifactSources } from './artifact-sources.ts';
import { toReconcileError } from './failure.ts';
import { type Gathered, renderFleet, type SharedRendering } from './fleet-render.ts';
import type { SpokeRecord } from './fold.ts';
import { gather, type HubCaches, noSpokes } from './gather.ts';
import type { Pusher } from './push.ts';
import type { Registries } from './registries.ts';
import type { ScopeDiscovery } from './scope-discovery.ts';
import { workloadTag } from './tag.ts';

/** What the steps work with. */
export interface HueTools {
  readonly caches: HubCaches;
  readonly sources: ArtifactSources;
  readonly scopes: ScopeDiscovery;
  readonly thread: RenderThread;
  readonly registries: Registries;
  spokeRegistry(spoke: Spoke): { readonly url: string };
  readonly renderers: Renderers;
  readonly searchPath: string;
}

/** What is remembered of the last turn that went through, so that equal input costs nothing. */
export interface Finished {
  /** Hash of all input. */
  readonly input: string;
  readonly records: readonly SpokeRecord[];
  readonly objects: number;
  readonly artifacts: number;
  /** What was pushed, and where to. */
  readonly held: ReadonlySet<string>;
  /** When to look again although nothing changed, in milliseconds since the epoch. */
  readonly dueAt: number;
}

/** An artifact of this turn and the spokes that get it. */
export interface PackedForSpokes {
  readonly artifact: PackedArtifact;
  readonly tag: string;
  readonly spokes: readonly string[];
  /** The registries that these spokes read. */
  readonly homes: ReadonlySet<Pusher>;
}

/** One reconcile of one deployment, as it goes from step to step. */
export interface Turn {
  readonly tools: HueTools;
  readonly key: string;
  readonly now: number;
  readonly finished: Finished | undefined;
  /** The failure of the last turn that only a change of the input ends. */
  readonly stalled: { readonly input: string; readonly error: ReconcileError } | undefined;
  deployment: WorkloadDeployment;
  gathered: Gathered | undefined;
  /** The registry of each spoke, by name. */
  homes: ReadonlyMap<string, Pusher>;
  input: string;
  /** What is to be recorded in the status: what was published before until the push is through. */
  records: readonly SpokeRecord[];
  shared: readonly SharedRendering[];
  packed: readonly PackedForSpokes[];
  /** References that were sent to the registry in this turn. */
  readonly pushed: string[];
  /** What the registries hold now: see {@link Finished}. */
  held: ReadonlySet<string>;
  /** Whether rendering is through: it decides which condition a failure belongs to. */
  rendered: boolean;
}

const RENDER_DEADLINE_MS = 60_000;
const PUSHES_AT_A_TIME = 4;
const RENDER_REASON = 'ArtifactPullFailed';
const PUSH_REASON = 'PushFailed';

/** Profile, environment and spokes. Ends the turn when all is as it was. */
const gatherStep: Step<Turn> = {
  name: 'gather',
  async run(turn) {
    turn.input = hash([turn.deployment.metadata.generation]);
    const gathered = gather(turn.deployment, turn.tools.caches);
    turn.gathered = gathered;
    const { registries } = turn.tools;
    turn.homes = new Map(
      gathered.spokes.map((spoke) => [
        spoke.metadata.name ?? '',
        registries.homeOf(turn.tools.spokeRegistry(spoke)),
      ]),
    );
    turn.input = inputOf(gathered, turn.homes);
    if (gathered.spokes.length === 0) {
      // Nobody is to have it any more: this is a decision of the user, and it is told.
      turn.records = [];
      throw noSpokes(gathered.environment, turn.tools.caches.spokes.list().length);
    }
    if (turn.stalled?.input === turn.input) throw turn.stalled.error;
    const { finished } = turn;
    if (finished === undefined || finished.input !== turn.input || turn.now >= finished.dueAt) return 'done';
    turn.records = finished.records;
    turn.held = finished.held;
    turn.rendered = true;
    return 'stop';
  },
};

/** Manifests, once for all spokes that cannot differ. */
const renderStep: Step<Turn> = {
  name: 'render',
  async run(turn, signal) {
    const { gathered } = turn;
    if (gathered === undefined) return 'stop';
    const resolved = new Map<string, string>();
    try {
      turn.shared = await renderFleet(gathered, matchesSelector, async (variables) =>
        renderOne(turn, gathered, variables, resolved, signal),
      );
    } catch (error) {
      throw toReconcileError(error, RENDER_REASON);
    }
    turn.rendered = true;
    return 'done';
  },
};

async function renderOne(
  turn: Turn,
  gathered: Gathered,
  variables: ExpressionVariables,
  resolved: Map<string, string>,
  signal: AbortSignal,
): Promise<Rendering> {
  const { scopes, searchPath, sources, thread } = turn.tools;
  const input = {
    profile: gathered.profile.spec,
    variables,
    artifacts: await sources.load(gathered.profile, variables, resolved, signal),
    renderers: turn.tools.renderers,
    searchPath,
    deadlineMs: RENDER_DEADLINE_MS,
  };
  const rendering = await thread.render({ ...input, scopes: scopes.known });
  if (!(await scopes.learn(rendering.unknownKinds))) return rendering;
  return await thread.render({ ...input, scopes: scopes.known });
}

/** One artifact for each rendering that differs. */
const packStep: Step<Turn> = {
  name: 'pack',
  async run(turn) {
    const { namespace = '', name = '' } = turn.deployment.metadata;
    const byDigest = new Map<string, PackedForSpokes>();
    for (const { rendering, spokes } of turn.shared) {
      const artifact = await packArtifact({ files: rendering.files });
      const same = byDigest.get(artifact.digest);
      const homes = spokes.map((spoke) => turn.homes.get(spoke) ?? turn.tools.registries.first);
      byDigest.set(artifact.digest, {
        artifact,
        tag: workloadTag(namespace, name, artifact.contentDigest),
        spokes: [...(same?.spokes ?? []), ...spokes],
        homes: new Set([...(same?.homes ?? []), ...homes]),
      });
    }
    turn.packed = [...byDigest.values()];
    return 'done';
  },
};

/** Blobs, manifest and tag of what the registries of the spokes do not have. Records who gets what. */
const pushStep: Step<Turn> = {
  name: 'push',
  async run(turn, signal) {
    const due = turn.finished !== undefined && turn.now >= turn.finished.dueAt;
    const recheck = due || isRequested(turn.deployment);
    const wanted = turn.packed.flatMap(({ artifact, tag, homes }) =>
      [...homes].map((home) => ({ artifact, tag, home, id: `${home.url}:${tag}@${artifact.digest}` })),
    );
    const missing = wanted.filter(({ id }) => recheck || turn.finished?.held.has(id) !== true);
    try {
      await mapLimit(missing, PUSHES_AT_A_TIME, async ({ artifact, tag, home }) => {
        const sent = await home.push(artifact, tag, signal);
        if (sent) turn.pushed.push(home.reference(tag, artifact.digest));
      });
    } catch (error) {
      throw toReconcileError(error, PUSH_REASON);
    }
    turn.held = new Set(wanted.map(({ id }) => id));
    turn.records = turn.packed
      .flatMap(({ artifact, tag, spokes }) => spokes.map((name) => ({ name, tag, digest: artifact.digest })))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    return 'done';
  },
};

/** Whether somebody asked for a reconcile that was not made yet. */
function isRequested({ metadata, status }: WorkloadDeployment): boolean {
  const requestedAt = metadata.annotations?.[RECONCILE_REQUEST_ANNOTATION];
  return requestedAt !== undefined && requestedAt !== status?.lastHandledReconcileAt;
}

/** The way of a deployment to the registry. Roots follow from what is recorded afterwards. */
export const HUE_STEPS: readonly Step<Turn>[] = [gatherStep, renderStep, packStep, pushStep];

/** A hash of all that a rendering may depend on. */
function inputOf(gathered: Gathered, homes: ReadonlyMap<string, Pusher>): string {
  const { deployment, profile, environment, spokes } = gathered;
  return hash([
    specHash(deployment.spec),
    deployment.metadata.labels ?? {},
    deployment.metadata.annotations?.[RECONCILE_REQUEST_ANNOTATION] ?? '',
    specHash(profile.spec),
    environment.metadata.name ?? '',
    specHash(environment.spec),
    environment.metadata.labels ?? {},
    spokes.map(({ metadata }) => [metadata.name, metadata.labels ?? {}, homes.get(metadata.name ?? '')?.url]),
  ]);
}

const specHashes = new WeakMap<object, string>();

/** A profile may hold megabytes; its object in the cache is the same until it changes. */
function specHash(spec: object): string {
  const known = specHashes.get(spec);
  if (known !== undefined) return known;
  const computed = hash(spec);
  specHashes.set(spec, computed);
  return computed;
}

function hash(value: unknown): string {
  return createHash('sha256').update(canonicalJson(value)).digest('base64');
}
