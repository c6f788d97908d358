import { formatDuration, systemClock } from '@mural/core';
import { type Digest, isDigest, isValidRepository } from '@mural/oci';
import { type LeaseDocument, leaseDocument, type LeaseKey, type RegistryData } from '@mural/registry';
import type { Context } from '../context.ts';
import { CliError } from '../errors.ts';
import { formatTable } from '../table.ts';
import type { LeaseAddOptions, LeaseListOptions, LeaseOptions } from './registry-leases.ts';
import { withRegistry } from './registry-target.ts';

/** In a folder nobody has signed in: leases without another holder are those of whoever runs the registry. */
const NOBODY = '';
const PAGE = 1000;

/** Holds content. */
export async function addLease(content: string, options: LeaseAddOptions, context: Context): Promise<void> {
  const { repository, digest } = contentOf(content);
  if (digest === undefined) {
    throw new CliError('Usage', `${content} has no digest`, { hint: 'write repository@sha256:…' });
  }
  const { holder, for: ms } = options;
  const lease = await withRegistry(options, context, {
    running: async (registry) => {
      const named = holder === undefined ? {} : { holder };
      const wanted = { repository, digest, duration: formatDuration(ms), ...named };
      return (await registry.put('leases', wanted)) as LeaseDocument;
    },
    data: async ({ leases }) => {
      const given = { repository, digest, holder: holder ?? NOBODY, until: systemClock.now() + ms };
      await leases.set(given);
      return leaseDocument(given);
    },
  });
  if (options.output === 'json') context.out(`${JSON.stringify(lease, null, 2)}\n`);
  else context.out(`${repository}@${digest} is held until ${lease.until}${by(lease.holder)}\n`);
}

/** Prints what is held. */
export async function listLeases(options: LeaseListOptions, context: Context): Promise<void> {
  const { repository, holder } = options;
  const leases = await withRegistry(options, context, {
    running: async (registry) => {
      const parameters = {
        ...(repository === undefined ? {} : { repository }),
        ...(holder === undefined ? {} : { holder }),
      };
      return (await registry.list('leases', parameters)) as LeaseDocument[];
    },
    data: async (data) => allIn(data, { repository, holder }),
  });
  if (options.output === 'json') context.out(`${JSON.stringify(leases, null, 2)}\n`);
  else if (leases.length === 0) context.err('Nothing is held.\n');
  else {
    const rows = leases.map((lease) => [
      ...[lease.repository, lease.digest, lease.holder === NOBODY ? '-' : lease.holder, lease.until],
    ]);
    context.out(formatTable(['REPOSITORY', 'DIGEST', 'HOLDER', 'UNTIL'], rows));
  }
}

/** Ends what is held. */
export async function removeLease(content: string, options: LeaseOptions, context: Context): Promise<void> {
  const { repository, digest } = contentOf(content);
  const { holder } = options;
  const removed = await withRegistry(options, context, {
    running: async (registry) => {
      const query = new URLSearchParams({
        repository,
        ...(digest === undefined ? {} : { digest }),
        ...(holder === undefined ? {} : { holder }),
      });
      const answer = (await registry.delete(`leases?${query.toString()}`)) as { removed: number };
      return answer.removed;
    },
    data: async ({ leases }) => leases.remove({ repository, digest, holder: holder ?? NOBODY }),
  });
  if (removed === 0) throw new CliError('NotFound', `nothing of ${content} is held${by(holder ?? NOBODY)}`);
  if (options.output === 'json') context.out(`${JSON.stringify({ removed })}\n`);
  else context.out(`${removed === 1 ? '1 lease is' : `${removed} leases are`} gone\n`);
}

function allIn(
  { leases }: RegistryData,
  which: { readonly repository: string | undefined; readonly holder: string | undefined },
): LeaseDocument[] {
  const all: LeaseDocument[] = [];
  for (let after: LeaseKey | undefined, more = true; more; ) {
    const page = leases.list({ ...which, after, limit: PAGE });
    all.push(...page.map(leaseDocument));
    after = page.at(-1);
    more = page.length === PAGE;
  }
  return all;
}

function by(holder: string): string {
  return holder === NOBODY ? '' : ` by ${holder}`;
}

/** @throws CliError `Usage` */
function contentOf(text: string): { readonly repository: string; readonly digest: Digest | undefined } {
  const [repository = '', digest, ...rest] = text.split('@');
  const fits =
    rest.length === 0 && isValidRepository(repository) && (digest === undefined || isDigest(digest));
  if (!fits) {
    throw new CliError('Usage', `${text} is not content of a repository`, {
      hint: 'write repository@sha256:…, without the host of the registry',
    });
  }
  return { repository, digest };
}
