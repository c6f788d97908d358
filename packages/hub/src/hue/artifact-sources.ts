import { isRecord } from '@mural/core';
import { ArtifactSource, type Component, type WorkloadProfile } from '@mural/kube';
import { parseRepositoryUrl, pullArtifact, type RegistryClient, unpackLayer } from '@mural/oci';
import { RenderError } from '../errors.ts';
import { Evaluator, type ExpressionVariables } from '../render/expressions.ts';
import type { Files } from '../render/types.ts';

/** Of all artifacts kept for the next rendering. */
const MAX_KEPT_BYTES = 64 * 1024 * 1024;
const MAX_ARTIFACT_BYTES = 64 * 1024 * 1024;

/** A repository of the hub and the client that reaches it. */
export interface HubRegistry {
  /** As `oci://host/path`. */
  readonly url: string;
  readonly client: RegistryClient;
  /** Limit of manifests that are put in a second, for registries that have one (ECR's PutImage: 10); none unless given. */
  readonly putsPerSecond?: number | undefined;
}

interface Kept {
  readonly files: Files;
  readonly bytes: number;
}

interface Place {
  readonly client: RegistryClient;
  readonly host: string;
  readonly repository: string;
}

/** Pulls the artifacts that components name. What a digest names is pulled once. */
export class ArtifactSources {
  readonly #registries: readonly HubRegistry[];
  readonly #kept = new Map<string, Kept>();
  #keptBytes = 0;

  /** @param registries the first is where artifacts come from that name no registry */
  constructor(registries: readonly HubRegistry[]) {
    this.#registries = registries;
  }

  /**
   * The files of every component that names an artifact, by component name.
   *
   * @param resolved what tags were found to be in this reconcile, so that all spokes see the same
   * @throws OciError when an artifact cannot be pulled, RenderError when a source is not allowed
   */
  async load(
    profile: WorkloadProfile,
    variables: ExpressionVariables,
    resolved: Map<string, string>,
    signal: AbortSignal,
  ): Promise<Record<string, Files>> {
    const loaded: Record<string, Files> = {};
    for (const component of profile.spec.components) {
      const source = sourceOf(component, variables);
      if (source === undefined) continue;
      loaded[component.name] = await this.#pull(component.name, source, resolved, signal);
    }
    return loaded;
  }

  async #pull(
    component: string,
    source: ArtifactSource,
    resolved: Map<string, string>,
    signal: AbortSignal,
  ): Promise<Files> {
    const { client, host, repository } = this.#locate(component, source);
    const place = `${host}/${repository}`;
    const wanted = source.digest ?? resolved.get(`${place}:${source.tag ?? ''}`) ?? source.tag ?? 'latest';
    const kept = this.#kept.get(`${place}@${wanted}`);
    if (kept !== undefined) return kept.files;
    const pulled = await pullArtifact(client, repository, wanted, { signal, maxBytes: MAX_ARTIFACT_BYTES });
    resolved.set(`${place}:${source.tag ?? ''}`, pulled.digest);
    const unpacked = await unpackLayer(pulled.layer);
    const files = Object.fromEntries([...unpacked].map(([path, file]) => [path, file.content]));
    this.#keep(`${place}@${pulled.digest}`, files);
    return files;
  }

  #locate(component: string, source: ArtifactSource): Place {
    const own = this.#registries.map(({ client, url }) => {
      const { registry: host, repository } = parseRepositoryUrl(url);
      return { client, host, repository };
    });
    const asked = source.url === undefined ? undefined : parseRepositoryUrl(source.url);
    const place = asked === undefined ? own[0] : own.find(({ host }) => host === asked.registry);
    if (place !== undefined) return { ...place, repository: asked?.repository ?? place.repository };
    const hosts = own.map(({ host }) => host).join(', ');
    throw new RenderError(
      'ArtifactInvalid',
      `component ${component}: artifacts come from the registry of the hub (${hosts}), not from ${asked?.registry ?? ''}`,
      {
        facts: { component, registry: asked?.registry },
        hint: 'Copy the artifact to the registry of the hub.',
      },
    );
  }

  #keep(key: string, files: Files): void {
    const bytes = Object.values(files).reduce((sum, content) => sum + content.length, 0);
    if (bytes > MAX_KEPT_BYTES) return;
    this.#kept.set(key, { files, bytes });
    this.#keptBytes += bytes;
    for (const [oldest, entry] of this.#kept) {
      if (this.#keptBytes <= MAX_KEPT_BYTES) break;
      this.#kept.delete(oldest);
      this.#keptBytes -= entry.bytes;
    }
  }
}

/** The artifact of a component; what is not one is left to the renderer, which says what is wrong. */
function sourceOf(component: Component, variables: ExpressionVariables): ArtifactSource | undefined {
  const raw = component.properties?.['artifact'];
  if (!isRecord(raw)) return undefined;
  const evaluated = new Evaluator(component.name, variables).evaluate(raw, 'properties.artifact');
  const parsed = ArtifactSource.safeParse(evaluated);
  return parsed.success ? parsed.data : undefined;
}
