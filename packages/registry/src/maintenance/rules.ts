import { errorMessage, isRecord, parseDuration } from '@mural/core';
import { RegistrySetupError } from '../errors.ts';
import { globPattern } from '../glob.ts';
import type { CompiledQuota } from '../store/quotas.ts';

/** Which tags of a repository stay. A tag stays when either condition keeps it. */
export interface TagRule {
  /** Patterns of tags: `*` stands for any characters. */
  readonly tags: string | readonly string[];
  /** Keeps the tags that were set last, this many of them. */
  readonly keepNewest?: number;
  /** Keeps tags that were set less than this ago: a duration in Go's notation, such as `720h`. */
  readonly keepYoungerThan?: string;
}

/** What is kept in the repositories that a pattern fits. The first rule that fits a repository is its rule. */
export interface RetentionRule {
  /** `*` stands for any characters but a slash, `**` for any at all. */
  readonly repositories: string;
  /** A tag follows the first of these that fits it; a tag that none fits is kept. */
  readonly tags?: readonly TagRule[];
  /** Manifests that no tag, index or subject keeps: `keep` unless told. */
  readonly untagged?: 'keep' | 'remove';
  /** Untagged manifests whose subject is not there: as `untagged` unless told. */
  readonly referrers?: 'keep' | 'remove';
}

/** How many bytes of distinct blobs the repositories that a pattern fits may have. All rules that fit apply. */
export interface QuotaRule {
  /** `*` stands for any characters but a slash, `**` for any at all. */
  readonly repositories: string;
  /** For all of them together: a number, or with a unit as Kubernetes writes them, such as `10Gi`. */
  readonly bytes?: number | string;
  /** For each of them. */
  readonly bytesPerRepository?: number | string;
}

/** A retention rule that was checked. */
export interface CompiledRetention {
  readonly repositories: RegExp;
  readonly tags: readonly CompiledTagRule[];
  readonly removeUntagged: boolean;
  readonly removeReferrers: boolean;
}

/** A tag rule that was checked. */
export interface CompiledTagRule {
  readonly patterns: readonly RegExp[];
  /** As it was written, for reports. */
  readonly text: string;
  readonly keepNewest: number | undefined;
  /** In milliseconds. */
  readonly keepYoungerThanMs: number | undefined;
}

/** Where nothing is told: everything that has a name, and every manifest, stays. */
export const KEEP_ALL: CompiledRetention = {
  repositories: /^/,
  tags: [],
  removeUntagged: false,
  removeReferrers: false,
};

/**
 * Checks retention rules, which may come from a file.
 *
 * @throws RegistrySetupError `RulesInvalid`: the first thing that is wrong, where, and what would be right
 */
export function compileRetention(value: unknown): CompiledRetention[] {
  return listAt(value, 'retention').map((entry, index) => {
    const at = `retention[${index}]`;
    const rule = recordAt(entry, at, ['repositories', 'tags', 'untagged', 'referrers']);
    const removeUntagged = choiceAt(rule['untagged'], `${at}.untagged`) ?? false;
    return {
      repositories: patternAt(rule['repositories'], `${at}.repositories`),
      tags: listAt(rule['tags'] ?? [], `${at}.tags`).map((tag, order) =>
        compileTagRule(tag, `${at}.tags[${order}]`),
      ),
      removeUntagged,
      removeReferrers: choiceAt(rule['referrers'], `${at}.referrers`) ?? removeUntagged,
    };
  });
}

/**
 * Checks quotas, which may come from a file.
 *
 * @throws RegistrySetupError `RulesInvalid`
 */
export function compileQuotas(value: unknown): CompiledQuota[] {
  return listAt(value, 'quotas').map((entry, index) => {
    const at = `quotas[${index}]`;
    const rule = recordAt(entry, at, ['repositories', 'bytes', 'bytesPerRepository']);
    const bytes = bytesAt(rule['bytes'], `${at}.bytes`);
    const bytesPerRepository = bytesAt(rule['bytesPerRepository'], `${at}.bytesPerRepository`);
    if (bytes === undefined && bytesPerRepository === undefined) {
      throw invalid(at, 'needs bytes, bytesPerRepository, or both', entry);
    }
    const repositories = patternAt(rule['repositories'], `${at}.repositories`);
    return { text: textOf(rule['repositories']), repositories, bytes, bytesPerRepository };
  });
}

function compileTagRule(value: unknown, at: string): CompiledTagRule {
  const rule = recordAt(value, at, ['tags', 'keepNewest', 'keepYoungerThan']);
  const tags = typeof rule['tags'] === 'string' ? [rule['tags']] : listAt(rule['tags'], `${at}.tags`);
  if (tags.length === 0) throw invalid(`${at}.tags`, 'must name at least one pattern', tags);
  const keepNewest = rule['keepNewest'];
  if (keepNewest !== undefined && (!Number.isSafeInteger(keepNewest) || Number(keepNewest) < 0)) {
    throw invalid(`${at}.keepNewest`, 'must be a whole number, 0 or more', keepNewest);
  }
  const keepYoungerThanMs = durationAt(rule['keepYoungerThan'], `${at}.keepYoungerThan`);
  if (keepNewest === undefined && keepYoungerThanMs === undefined) {
    throw invalid(
      at,
      'needs keepNewest, keepYoungerThan, or both; to remove all, write keepNewest: 0',
      value,
    );
  }
  return {
    patterns: tags.map((tag, index) => patternAt(tag, `${at}.tags[${index}]`)),
    text: tags.join(', '),
    keepNewest: keepNewest === undefined ? undefined : Number(keepNewest),
    keepYoungerThanMs,
  };
}

function durationAt(value: unknown, at: string): number | undefined {
  if (value === undefined) return undefined;
  const right = 'must be a duration such as 720h';
  if (typeof value !== 'string') throw invalid(at, right, value);
  try {
    return parseDuration(value);
  } catch (error) {
    throw invalid(at, `${right} (${errorMessage(error)})`, value);
  }
}

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 1024,
  Mi: 1024 ** 2,
  Gi: 1024 ** 3,
  Ti: 1024 ** 4,
};

function bytesAt(value: unknown, at: string): number | undefined {
  if (value === undefined) return undefined;
  const [, number = '', unit = ''] =
    /^(\d{1,15})([A-Za-z]{0,2})$/.exec(textOf(typeof value === 'number' ? String(value) : value)) ?? [];
  const factor = UNITS[unit];
  if (number === '' || factor === undefined) {
    throw invalid(at, 'must be a number of bytes, with a unit if you like, such as 10Gi', value);
  }
  return Number(number) * factor;
}

function choiceAt(value: unknown, at: string): boolean | undefined {
  if (value === undefined || value === 'keep' || value === 'remove') {
    return value === undefined ? undefined : value === 'remove';
  }
  throw invalid(at, 'must be keep or remove', value);
}

const MAX_PATTERN = 255;

function patternAt(value: unknown, at: string): RegExp {
  if (typeof value !== 'string' || value === '' || value.length > MAX_PATTERN) {
    throw invalid(at, `must be a pattern of at most ${MAX_PATTERN} characters, such as team/**`, value);
  }
  return globPattern(value);
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function listAt(value: unknown, at: string): readonly unknown[] {
  if (Array.isArray(value)) return value as readonly unknown[];
  throw invalid(at, 'must be a list', value);
}

function recordAt(value: unknown, at: string, known: readonly string[]): Readonly<Record<string, unknown>> {
  if (!isRecord(value)) throw invalid(at, 'must be a mapping', value);
  const unknown = Object.keys(value).find((key) => !known.includes(key));
  if (unknown !== undefined)
    throw invalid(`${at}.${unknown}`, `is not known; known are ${known.join(', ')}`, unknown);
  return value;
}

function invalid(at: string, right: string, value: unknown): RegistrySetupError {
  const found = (JSON.stringify(value) as string | undefined) ?? 'nothing';
  return new RegistrySetupError('RulesInvalid', `${at} ${right}; found ${found.slice(0, 100)}.`, {
    facts: { at },
  });
}
