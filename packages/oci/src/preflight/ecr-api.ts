import { type Clock, withDeadline } from '@mural/core';
import { awsError } from '../cloud/aws-errors.ts';
import type { EcrClient } from '../cloud/aws-token.ts';
import { OciError } from '../errors.ts';
import type { EcrPlace } from './ecr-fixes.ts';
import { unknownDigest } from './trials.ts';

/** Whether tags of a repository may move. */
export interface Mutability {
  /** `MUTABLE`, `IMMUTABLE`, `MUTABLE_WITH_EXCLUSION`, `IMMUTABLE_WITH_EXCLUSION`. */
  readonly kind: string;
  readonly filters: readonly string[];
}

const CALL_MS = 20_000;
const PAGE = 1000;
/** The default quota of images, so that the count ends. */
const MAX_PAGES = 100;

/**
 * The operations of ECR's API that tell about a repository. None of them is needed to push or pull:
 * an identity that may not call them gets `AccessDenied`.
 */
export class EcrApiReader {
  readonly #ecr: EcrClient;
  readonly #place: EcrPlace;
  readonly #clock: Clock;
  readonly #signal: AbortSignal | undefined;

  constructor(ecr: EcrClient, place: EcrPlace, clock: Clock, signal: AbortSignal | undefined) {
    this.#ecr = ecr;
    this.#place = place;
    this.#clock = clock;
    this.#signal = signal;
  }

  /** Whether layers may be looked for. @returns why not */
  async availability(): Promise<OciError | undefined> {
    const ecr = this.#ecr;
    const layers = { ...this.#repository, layerDigests: [unknownDigest()] };
    try {
      await this.#call('BatchCheckLayerAvailability', async (abortSignal) =>
        ecr.kind === 'private'
          ? await ecr.client.send(new ecr.sdk.BatchCheckLayerAvailabilityCommand(layers), { abortSignal })
          : await ecr.client.send(new ecr.sdk.BatchCheckLayerAvailabilityCommand(layers), { abortSignal }),
      );
      return undefined;
    } catch (error) {
      if (error instanceof OciError && this.#signal?.aborted !== true) return error;
      throw error;
    }
  }

  /** Of ECR Public, where tags can always be moved: `MUTABLE`. @throws OciError `AccessDenied`, `NameUnknown`, … */
  async mutability(): Promise<Mutability> {
    const ecr = this.#ecr;
    const { name, registryId } = this.#names;
    const described = await this.#call('DescribeRepositories', async (abortSignal) => {
      const input = { repositoryNames: [name], ...registryId };
      if (ecr.kind === 'private')
        return (await ecr.client.send(new ecr.sdk.DescribeRepositoriesCommand(input), { abortSignal }))
          .repositories?.[0];
      await ecr.client.send(new ecr.sdk.DescribeRepositoriesCommand(input), { abortSignal });
      return undefined;
    });
    return {
      kind: described?.imageTagMutability ?? 'MUTABLE',
      filters: (described?.imageTagMutabilityExclusionFilters ?? []).flatMap(({ filter }) => filter ?? []),
    };
  }

  /** How many images there are, at most a hundred thousand. @throws OciError `AccessDenied`, … */
  async countImages(): Promise<number> {
    const ecr = this.#ecr;
    let count = 0;
    let nextToken: string | undefined;
    for (let page = 0; page < MAX_PAGES; page += 1) {
      const input = {
        ...this.#repository,
        maxResults: PAGE,
        ...(nextToken === undefined ? {} : { nextToken }),
      };
      const answer = await this.#call('DescribeImages', async (abortSignal) =>
        ecr.kind === 'private'
          ? await ecr.client.send(new ecr.sdk.DescribeImagesCommand(input), { abortSignal })
          : await ecr.client.send(new ecr.sdk.DescribeImagesCommand(input), { abortSignal }),
      );
      count += answer.imageDetails?.length ?? 0;
      nextToken = answer.nextToken;
      if (nextToken === undefined) break;
    }
    return count;
  }

  /** The lifecycle policy as JSON text; `undefined` when there is none, as in all of ECR Public. */
  async lifecyclePolicy(): Promise<string | undefined> {
    const ecr = this.#ecr;
    if (ecr.kind === 'public') return undefined;
    try {
      const answer = await this.#call('GetLifecyclePolicy', async (abortSignal) =>
        ecr.client.send(new ecr.sdk.GetLifecyclePolicyCommand(this.#repository), { abortSignal }),
      );
      return answer.lifecyclePolicyText;
    } catch (error) {
      if (causeOf(error) === 'LifecyclePolicyNotFoundException') return undefined;
      throw error;
    }
  }

  get #names(): { readonly name: string; readonly registryId: { readonly registryId?: string } } {
    const { ecr, name } = this.#place;
    return { name, registryId: ecr.kind === 'private' ? { registryId: ecr.account } : {} };
  }

  get #repository(): { readonly repositoryName: string; readonly registryId?: string } {
    const { name, registryId } = this.#names;
    return { repositoryName: name, ...registryId };
  }

  async #call<T>(operation: string, send: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { api, name } = this.#place;
    const expired = (): OciError =>
      new OciError('TimedOut', `${operation} took longer than ${CALL_MS} ms`, { retryable: true });
    const deadline = { clock: this.#clock, ms: CALL_MS, signal: this.#signal, expired };
    return await withDeadline(deadline, async (signal) => {
      try {
        return await send(signal);
      } catch (error) {
        if (error instanceof Error && error.name === 'RepositoryNotFoundException') {
          throw new OciError('NameUnknown', `there is no repository ${name}`, { cause: error });
        }
        const action = `${api.service}:${operation}`;
        const identity = this.#ecr.identity;
        throw awsError(error, { operation: action, action, identity, region: api.region, signal });
      }
    });
  }
}

function causeOf(error: unknown): string | undefined {
  return error instanceof Error && error.cause instanceof Error ? error.cause.name : undefined;
}
