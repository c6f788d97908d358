import type { Clock, Logger } from '@mural/core';
import { formatReference, type PackedArtifact, parseRepositoryUrl, pushArtifact } from '@mural/oci';
import type { HubRegistry } from './artifact-sources.ts';

/** Limit of one push: its calls have limits of their own, this is for all of them. */
const PUSH_DEADLINE_MS = 10 * 60_000;

/** Pushes artifacts to the hub's repository and says so in the log, one line a push. */
export class Pusher {
  readonly #registry: HubRegistry;
  readonly #repository: string;
  readonly #host: string;
  readonly #clock: Clock;
  readonly #log: Logger;

  /** @throws OciError `UrlInvalid` when the URL of the repository is none */
  constructor(registry: HubRegistry, clock: Clock, log: Logger) {
    const { registry: host, repository } = parseRepositoryUrl(registry.url);
    this.#registry = registry;
    this.#repository = repository;
    this.#host = host;
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
        signal: AbortSignal.any([signal, AbortSignal.timeout(PUSH_DEADLINE_MS)]),
      });
      const line = { ...facts, bytes: result.bytes, durationMs: this.#clock.now() - started };
      if (result.pushed) this.#log.info(line, 'oci push: artifact pushed');
      else this.#log.info(line, 'oci push: the registry has the artifact already');
      return result.pushed;
    } catch (error) {
      this.#log.warn({ ...facts, durationMs: this.#clock.now() - started, err: error }, 'oci push failed');
      throw error;
    }
  }
}
