import { isRecord } from '@mural/core';
import { OciError } from '../errors.ts';
import { bad, type Found, ofError, ok, skip } from './check.ts';
import type { EcrApiReader, Mutability } from './ecr-api.ts';
import { type EcrPlace, exclusionCommand, lifecycleCommand, mutableCommand } from './ecr-fixes.ts';
import type { PreflightOptions } from './options.ts';

/** Default quota of images in a repository (AWS service quotas of Amazon ECR). */
const MAX_IMAGES = 100_000;
const MANY_IMAGES = 0.8 * MAX_IMAGES;
/** Filters that a repository can have. */
const MAX_FILTERS = 5;

/** What the settings of a repository mean for a hub that pushes to it. */
export async function checkSettings(
  api: EcrApiReader,
  place: EcrPlace,
  options: PreflightOptions,
): Promise<readonly Found[]> {
  const found = [
    await optional('tag-mutability', async () => judgeMutability(await api.mutability(), place, options)),
  ];
  found.push(await optional('image-count', async () => judgeCount(await api.countImages(), place)));
  found.push(judgePutRate(options));
  if (place.ecr.kind === 'private')
    found.push(await optional('lifecycle', async () => judgeLifecycle(await api.lifecyclePolicy(), place)));
  return found;
}

/** What an identity in operation needs no permission for is asked for where it has one all the same. */
async function optional(check: string, ask: () => Promise<Found>): Promise<Found> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof OciError)) throw error;
    const { action } = error.facts;
    if (error.code === 'AccessDenied') {
      return skip(check, `not looked at: that takes ${String(action)}, which is not needed in operation`);
    }
    return ofError('warn', check, error);
  }
}

function judgeMutability(
  { kind, filters }: Mutability,
  place: EcrPlace,
  { movingTags }: PreflightOptions,
): Found {
  const check = 'tag-mutability';
  const shown = filters.length === 0 ? kind : `${kind} (${filters.join(', ')})`;
  switch (kind) {
    case 'MUTABLE':
      return ok(check, `${kind}: the tags ${movingTags.join(' and ')} can be moved`);
    case 'IMMUTABLE':
    case 'IMMUTABLE_WITH_EXCLUSION': {
      const fixed = movingTags.filter((tag) => !filters.some((filter) => covers(filter, tag)));
      if (fixed.length === 0) return ok(check, `${shown}: the tags ${movingTags.join(' and ')} can be moved`);
      const wanted = [...filters, ...fixed];
      const fix = wanted.length > MAX_FILTERS ? mutableCommand(place) : exclusionCommand(place, wanted);
      return bad(
        'fail',
        check,
        `${shown}: the tags ${fixed.join(' and ')} could not be moved, and nothing new would reach a spoke`,
        fix,
      );
    }
    case 'MUTABLE_WITH_EXCLUSION': {
      const fixed = movingTags.filter((tag) => filters.some((filter) => meets(filter, tag)));
      if (fixed.length === 0) return ok(check, `${shown}: the tags ${movingTags.join(' and ')} can be moved`);
      return bad(
        'fail',
        check,
        `${shown}: tags like ${fixed.join(' and ')} could not be moved, and nothing new would reach a spoke`,
        mutableCommand(place),
      );
    }
    default:
      return bad(
        'warn',
        check,
        `${shown} is not known here: the tags ${movingTags.join(' and ')} must be movable`,
      );
  }
}

/** Whether a filter takes in every tag of a pattern that ends in its only `*`. */
function covers(filter: string, tags: string): boolean {
  const star = filter.indexOf('*');
  return star === filter.length - 1 && star >= 0 && tags.startsWith(filter.slice(0, star));
}

/** Whether a filter takes in some tags of such a pattern: its start does not rule it out. */
function meets(filter: string, tags: string): boolean {
  const prefix = tags.slice(0, -1);
  const star = filter.indexOf('*');
  const start = star < 0 ? filter : filter.slice(0, star);
  return star < 0 ? start.startsWith(prefix) : start.startsWith(prefix) || prefix.startsWith(start);
}

function judgeCount(count: number, place: EcrPlace): Found {
  const shown = `${count.toLocaleString('en')} of ${MAX_IMAGES.toLocaleString('en')} images (the default quota)`;
  if (count < MANY_IMAGES) return ok('image-count', shown);
  const fix =
    place.ecr.kind === 'private' ? lifecycleCommand(place) : 'delete images that no tag names any more';
  return bad('warn', 'image-count', shown, fix);
}

/** PutImage is the call with the lowest quota: what it makes of the time that publishing takes. */
function judgePutRate({ spokes, groupSize, putsPerSecond }: PreflightOptions): Found {
  const groups = Math.ceil(spokes / groupSize);
  const first = spokes + groups + 1;
  const change = groups + 1;
  const seconds = (puts: number): string => `${puts} PutImage, ${(puts / putsPerSecond).toFixed(1)} s`;
  return ok(
    'put-rate',
    `ECR allows 10 PutImage a second, the hub makes ${putsPerSecond}: with ${spokes} ${spokes === 1 ? 'spoke' : 'spokes'} ` +
      `the first workload takes ${seconds(first)}, a change that is equal for all ${seconds(change)}`,
  );
}

const NEVER =
  'spokes go on using what was pushed long ago: a rule may expire untagged images only, since all that is in use has a tag';

function judgeLifecycle(text: string | undefined, place: EcrPlace): Found {
  const check = 'lifecycle';
  if (text === undefined) {
    return bad(
      'warn',
      check,
      `the repository has no lifecycle policy, and the hub deletes nothing from ECR, so that it only grows; ${NEVER}`,
      lifecycleCommand(place),
    );
  }
  const selections = selectionsOf(text);
  if (selections === undefined) return bad('warn', check, `the lifecycle policy cannot be read; ${NEVER}`);
  const risky = selections.filter(({ status }) => status !== 'untagged');
  if (risky.length === 0) return ok(check, 'the lifecycle policy expires untagged images only');
  const named = risky.map(({ priority, status }) => `rule ${priority} (tagStatus ${status})`).join(', ');
  return bad(
    'warn',
    check,
    `the lifecycle policy can expire what spokes use: ${named}; ${NEVER}`,
    lifecycleCommand(place),
  );
}

function selectionsOf(
  text: string,
): readonly { readonly priority: string; readonly status: string }[] | undefined {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    return undefined;
  }
  const rules = isRecord(document) ? document['rules'] : undefined;
  if (!Array.isArray(rules)) return undefined;
  return rules.map((rule: unknown) => {
    const { rulePriority, selection } = isRecord(rule) ? rule : {};
    const status = isRecord(selection) ? selection['tagStatus'] : undefined;
    return { priority: printable(rulePriority), status: printable(status) };
  });
}

function printable(value: unknown): string {
  const text = typeof value === 'string' || typeof value === 'number' ? String(value) : '?';
  return text.replace(/[^\w.-]/g, ' ').slice(0, 40);
}
