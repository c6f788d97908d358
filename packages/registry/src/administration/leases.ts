import type { Caller } from '../auth/caller.ts';
import { RegistryError } from '../errors.ts';
import { type Exchange, refuse, sendJson } from '../http/exchange.ts';
import { requireDigest, requireRepository } from '../http/request.ts';
import { leaseDocument, leasesOf } from '../maintenance/leases.ts';
import type { Lease, LeaseKey, Leases } from '../store/leases.ts';
import { endOf, fieldsOf, invalid, pageSizeOf, parametersOf, unknown } from './request.ts';

const HOUR_MS = 3_600_000;
/** How long a lease may last, in milliseconds. */
const MAX_TIME = { administrator: 366 * 24 * HOUR_MS, reader: 24 * HOUR_MS } as const;
const MAX_IN_REPOSITORY = 50_000;
/** In all repositories, for one who is no administrator. */
const MAX_OF_READER = 1000;
const MAX_HOLDER = 255;

/**
 * Leases over the wire: `GET`, `PUT` and `DELETE` of `leases`.
 *
 * Whoever may read a repository may hold content of it, under their own name and for a day at most. That
 * gives them next to nothing: a HEAD every few minutes holds content as well. It gives nobody content,
 * refuses no DELETE, and ends by itself when they do not come back. Only administrators hold for longer,
 * under any name, and see and end what others hold.
 */
export async function answerLeases(exchange: Exchange, rest: readonly string[]): Promise<void> {
  if (rest.length > 0) throw unknown();
  const { caller, request } = exchange;
  if (caller.name === undefined) refuse(caller, '', ['read']);
  const { method } = request;
  if (method === 'GET') listLeases(exchange, caller.name);
  else if (method === 'PUT') await putLease(exchange, caller.name);
  else if (method === 'DELETE') await removeLeases(exchange, caller.name);
  else throw unknown();
}

/** `GET leases?repository=&holder=&n=&last=`: one's own; all of them for an administrator. */
function listLeases({ query, caller, store, response }: Exchange, own: string): void {
  const asked = parametersOf(query, ['repository', 'holder', 'n', 'last']);
  const { repository } = asked;
  if (repository !== undefined) requireAccess(caller, requireRepository(repository));
  const named = asked.holder === undefined ? undefined : holderOf(caller, own, asked.holder);
  const limit = pageSizeOf(asked.n);
  const page = leasesOf(store).list({
    repository,
    holder: caller.administers ? named : own,
    after: asked.last === undefined ? undefined : keyOf(asked.last),
    limit: limit + 1,
  });
  const shown = page.slice(0, limit);
  const last = page.length > limit ? shown.at(-1) : undefined;
  sendJson(response, 200, {
    // Whoever may not read a repository any more is told nothing of it.
    leases: shown
      .filter((lease) => caller.administers || caller.allows('read', lease.repository))
      .map(leaseDocument),
    ...(last === undefined ? {} : { next: `${last.repository} ${last.digest} ${last.holder}` }),
  });
}

/**
 * `PUT leases` with `repository`, `digest`, and `duration` or `until`: sets the lease of a holder, also
 * in place of a longer one. Content that is not there cannot be held.
 */
async function putLease(exchange: Exchange, own: string): Promise<void> {
  const { caller, store, response } = exchange;
  const body = (await fieldsOf(exchange, {
    ...{ repository: 'string', digest: 'string', duration: 'string', until: 'string', holder: 'string' },
  })) as Readonly<Partial<Record<'repository' | 'digest' | 'duration' | 'until' | 'holder', string>>>;
  const repository = requireRepository(body.repository ?? '');
  requireAccess(caller, repository);
  const digest = requireDigest(body.digest ?? '');
  const holder = holderOf(caller, own, body.holder ?? own);
  const now = exchange.now();
  const until = endOf(body, ['duration', 'until'], now);
  const longest = caller.administers ? MAX_TIME.administrator : MAX_TIME.reader;
  if (until - now > longest) throw invalid(`this account may hold content for ${longest / HOUR_MS}h at most`);
  const lease = { repository, digest, holder, until };
  requireRoom(store.metadata.holds.leases, lease, caller);
  await leasesOf(store).set(lease);
  sendJson(response, 200, leaseDocument(lease));
}

/** `DELETE leases?repository=&digest=&holder=`: one's own on a digest, or all in a repository. */
async function removeLeases({ query, caller, store, response }: Exchange, own: string): Promise<void> {
  const asked = parametersOf(query, ['repository', 'digest', 'holder']);
  const repository = requireRepository(asked.repository ?? '');
  requireAccess(caller, repository);
  const digest = asked.digest === undefined ? undefined : requireDigest(asked.digest);
  const holder = holderOf(caller, own, asked.holder ?? own);
  const removed = await leasesOf(store).remove({ repository, digest, holder });
  if (removed === 0) {
    throw new RegistryError('LeaseUnknown', 'There is no such lease of this holder.', { facts: { holder } });
  }
  sendJson(response, 200, { removed });
}

/** @throws RegistryError `Denied` */
function requireAccess(caller: Caller, repository: string): void {
  if (!caller.administers && !caller.allows('read', repository)) refuse(caller, repository, ['read']);
}

/** @throws RegistryError `Denied` for the name of another, `AdministrationInvalid` */
function holderOf(caller: Caller, own: string, holder: string): string {
  if (holder.length > MAX_HOLDER || /\p{Cc}/u.test(holder)) {
    throw invalid(`a holder has at most ${MAX_HOLDER} characters, none of them a control character`);
  }
  if (holder === own || caller.administers) return holder;
  throw new RegistryError('Denied', 'Only administrators hold content under another name than their own.');
}

/** @throws RegistryError `QuotaExceeded` */
function requireRoom(leases: Leases, lease: Lease, caller: Caller): void {
  if (leases.until(lease) > 0) return;
  const full = (): string | undefined => {
    if (leases.countIn(lease.repository) >= MAX_IN_REPOSITORY)
      return `The repository has ${MAX_IN_REPOSITORY} leases already.`;
    const ofReader = caller.administers ? 0 : leases.countOf(lease.holder);
    return ofReader >= MAX_OF_READER ? `This account has ${MAX_OF_READER} leases already.` : undefined;
  };
  if (full() === undefined) return;
  leases.prune();
  const why = full();
  if (why !== undefined) throw new RegistryError('QuotaExceeded', why);
}

/** What a page ended with: a name and a digest have no spaces. */
function keyOf(last: string): LeaseKey {
  const [, repository = '', digest = '', holder = ''] = /^(\S+) (\S+) (.*)$/su.exec(last) ?? [];
  return { repository: requireRepository(repository), digest: requireDigest(digest), holder };
}
