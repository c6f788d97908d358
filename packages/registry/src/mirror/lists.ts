import { type Logger, SingleFlight } from '@mural/core';
import type { Descriptor } from '@mural/oci';
import { RegistryError } from '../errors.ts';
import { listTags, referrersOf, sendReferrers, sendTags } from '../http/lists.ts';
import type { Exchange } from '../http/exchange.ts';
import { type Digest, isValidTag } from '../names.ts';
import { pageOf } from '../store/tag-index.ts';
import { Remembered } from './remembered.ts';
import type { MirroredRepository } from './repository.ts';
import type { MirrorResult } from './tallies.ts';

const MAX_LISTS = 64;
const MAX_REFERRERS = 2000;
/** How long a list is served that could not be asked for anew, in milliseconds. */
const STALE_RETRY_MS = 10_000;

/** What a list is answered from; `known` is undefined for what the upstream does not have. */
interface Answer<T> {
  readonly from: MirrorResult;
  /** Why the upstream cannot be asked when nothing is remembered. */
  readonly known: T | RegistryError | undefined;
}

interface List<T> {
  readonly values: T;
  readonly readAt: number;
}

/** Tags and referrers of mirrored repositories, as the upstream lists them. */
export class MirroredLists {
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #tags: Remembered<List<readonly string[]>>;
  readonly #referrers: Remembered<List<ReadonlyMap<Digest, string>>>;
  readonly #unasked: Remembered<true>;
  readonly #asking = new SingleFlight<unknown>();

  constructor(log: Logger, now: () => number) {
    this.#log = log;
    this.#now = now;
    this.#tags = new Remembered(MAX_LISTS, now);
    this.#referrers = new Remembered(MAX_REFERRERS, now);
    this.#unasked = new Remembered(MAX_REFERRERS, now);
  }

  /** `GET` of the tags (end-8): those upstream, or those that are here while it cannot be asked. */
  async answerTags(exchange: Exchange, repository: MirroredRepository): Promise<MirrorResult> {
    const { name, upstream, upstreamName } = repository;
    const { known, from } = await this.#list(exchange, repository, {
      what: `the tags of ${name}`,
      memory: this.#tags,
      read: async (signal) => {
        const tags = await upstream.client.listTags(upstreamName, signal);
        return [...new Set(tags.filter(isValidTag))].sort();
      },
    });
    if (known instanceof RegistryError) {
      if (exchange.store.metadata.repository(name) === undefined) throw known;
      listTags(exchange, name);
      return from;
    }
    if (known === undefined) throw nameUnknown(name);
    sendTags(exchange, name, (last, limit) => pageOf(known, last, limit));
    return from;
  }

  /** `GET` of referrers (end-12): those upstream with those that are here. */
  async answerReferrers(
    exchange: Exchange,
    repository: MirroredRepository,
    subject: Digest,
  ): Promise<MirrorResult> {
    const { name, upstream, upstreamName } = repository;
    const { known, from } = await this.#list(exchange, repository, {
      what: `the referrers of ${name}@${subject}`,
      memory: this.#referrers,
      read: async (signal) => {
        const found = await upstream.client.listReferrers(upstreamName, subject, undefined, signal);
        return new Map(found.map((one) => [one.digest, descriptorOf(one)]));
      },
    });
    const merged = referrersOf(exchange.store.metadata, name, subject);
    if (known !== undefined && !(known instanceof RegistryError))
      for (const entry of known) merged.set(...entry);
    sendReferrers(exchange, name, subject, merged);
    return from;
  }

  async #list<T>(
    { response }: Exchange,
    { upstream }: MirroredRepository,
    list: { what: string; memory: Remembered<List<T>>; read: (signal: AbortSignal) => Promise<T> },
  ): Promise<Answer<T>> {
    const { what, memory, read } = list;
    const { tagTtlMs, staleMs } = upstream.mirror;
    const known = memory.get(what);
    if (known !== undefined && this.#now() - known.readAt < tagTtlMs)
      return { from: 'cached', known: known.values };
    try {
      if (this.#unasked.get(what) === true)
        throw new RegistryError('UpstreamUnavailable', 'The upstream registry could not be asked just now.');
      const values = (await this.#asking.run(what, () => upstream.ask(what, read))) as T | undefined;
      if (values !== undefined)
        memory.set(what, { values, readAt: this.#now() }, Math.max(tagTtlMs, staleMs));
      return { from: 'fetched', known: values };
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error;
      if (this.#unasked.get(what) !== true) {
        this.#log.warn(
          { upstream: upstream.host, what, reason: error.code },
          'a list is served from what is known here',
        );
        this.#unasked.set(what, true, STALE_RETRY_MS);
      }
      response.setHeader('warning', STALE_WARNING);
      return { from: 'stale', known: known === undefined ? error : known.values };
    }
  }
}

/** RFC 7234, 5.5.1: what is served is older than it should be, because the upstream cannot be asked. */
export const STALE_WARNING = '110 - "Response is Stale"';

/** The members that a list of referrers holds (distribution-spec, "Listing Referrers"). */
function descriptorOf({ mediaType, digest, size, artifactType, annotations }: Descriptor): string {
  return JSON.stringify({ mediaType, digest, size, artifactType, annotations });
}

function nameUnknown(name: string): RegistryError {
  return new RegistryError('NameUnknown', 'The registry has no such repository.', { facts: { name } });
}
