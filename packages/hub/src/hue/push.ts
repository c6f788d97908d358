import type { Clock, Logger } from '@mural/core';
import {
  copyArtifact,
  formatReference,
  OciError,
  type PackedArtifact,
  parseRepositoryUrl,
  pushArtifact,
} from '@mural/oci';
import type { HubRegistry } from './artifact-sources.ts';
import { RateLimit } from './rate-limit.ts';

/** Limit of one push: its calls have limits of their own, this is for all of them. */
const PUSH_DEADLINE_MS = 10 * 60_000;

/** Pushes artifacts to one repository and says so in the log, one line a push. */
export class Pusher {
  /** As `oci://host/path`. */
  readonly url: string;
  readonly #registry: HubRegistry;
  readonly #repository: string;
  readonly #host: string;
  readonly #limit: RateLimit;
  readonly #clock: Clock;
  readonly #log: Logger;
  /** Digests that the repository was seen to hold. */
  readonly #held = new Set<string>();

  /** @throws OciError `UrlInvalid` when the URL of the repository is none */
  constructor(registry: HubRegistry, clock: Clock, log: Logger) {
    const { registry: host, repository } = parseRepositoryUrl(registry.url);
    this.url = registry.url;
    this.#registry = registry;
    this.#repository = repository;
    this.#host = host;
    this.#limit = new RateLimit(registry.putsPerSecond, clock);
    this.#clock = clock;
    this.#log = log;
  }

  /** The reference that an artifact has under a tag. */
  reference(tag: string, digest: string): string {
    const reference = { registry: this.#host, repository: this.#repository, tag };
    return `${formatReference(reference)}@${digest}`;
  }

  /**
   * Makes sure that the registry holds the artifact under the tag, with every blob. What is there
   * already is not sent.
   *
   * @returns whether anything was sent
   * @throws OciError
   */
  async push(artifact: PackedArtifact, tag: string, signal: AbortSignal): Promise<boolean> {
    const started = this.#clock.now();
    const facts = { reference: this.reference(tag, artifact.digest), digest: artifact.digest };
    try {
      const result = await pushArtifact(this.#registry.client, this.#repository, artifact, {
        tags: [tag],
        // What is pushed again is a look whether it is still there: of all of it.
        complete: true,
        byTag: true,
        beforeManifest: async (aborted) => this.#limit.take(aborted),
        signal: AbortSignal.any([signal, AbortSignal.timeout(PUSH_DEADLINE_MS)]),
      });
      this.#held.add(artifact.digest);
      const line = { ...facts, bytes: result.bytes, durationMs: this.#clock.now() - started };
      if (result.pushed) this.#log.info(line, 'oci push: artifact pushed');
      else this.#log.info(line, 'oci push: the registry has the artifact already');
      return result.pushed;
    } catch (error) {
      this.#log.warn({ ...facts, durationMs: this.#clock.now() - started, err: error }, 'oci push failed');
      throw error;
    }
  }

  /**
   * Whether the registry holds a manifest. What was once seen there is not asked for again.
   *
   * @throws OciError
   */
  async holds(digest: string, signal: AbortSignal): Promise<boolean> {
    if (this.#held.has(digest)) return true;
    const found = await this.#registry.client.headManifest(this.#repository, digest, signal);
    if (found !== undefined) this.#held.add(digest);
    return found !== undefined;
  }

  /**
   * Copies an artifact from another registry.
   *
   * @returns whether the other one has it
   * @throws OciError
   */
  async copyFrom(other: Pusher, digest: string, signal: AbortSignal): Promise<boolean> {
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(PUSH_DEADLINE_MS)]);
    const [from, to] = [other, this].map((pusher) => ({
      client: pusher.#registry.client,
      repository: pusher.#repository,
    })) as [CopySide, CopySide];
    try {
      await copyArtifact({ ...from, reference: digest }, to, {
        beforeManifest: async (aborted) => this.#limit.take(aborted),
        signal: deadline,
      });
    } catch (error) {
      if (error instanceof OciError && error.code === 'ManifestUnknown') return false;
      throw error;
    }
    this.#held.add(digest);
    this.#log.info({ digest, from: other.url, to: this.url }, 'oci push: artifact copied');
    return true;
  }
}

interface CopySide {
  readonly client: HubRegistry['client'];
  readonly repository: string;
}
