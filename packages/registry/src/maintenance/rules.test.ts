import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RegistrySetupError } from '../errors.ts';
import { digestOf } from '../names.ts';
import { expiredTags } from './retention.ts';
import { compileQuotas, compileRetention } from './rules.ts';

describe('rules', () => {
  it.each([
    ['x', 'retention must be a list; found "x".'],
    [['x'], 'retention[0] must be a mapping; found "x".'],
    [
      [{}],
      'retention[0].repositories must be a pattern of at most 255 characters, such as team/**; found nothing.',
    ],
    [
      [{ repositories: '**', tag: [] }],
      'retention[0].tag is not known; known are repositories, tags, untagged, referrers; found "tag".',
    ],
    [[{ repositories: '**', untagged: true }], 'retention[0].untagged must be keep or remove; found true.'],
    [
      [{ repositories: '**' }, { repositories: '**', tags: [{ tags: '*', keepNewest: -1 }] }],
      'retention[1].tags[0].keepNewest must be a whole number, 0 or more; found -1.',
    ],
    [
      [{ repositories: '**', tags: [{ tags: '*', keepYoungerThan: '3 days' }] }],
      /^retention\[0\]\.tags\[0\]\.keepYoungerThan must be a duration such as 720h \(.*\); found "3 days"\.$/,
    ],
    [
      [{ repositories: '**', tags: [{ tags: '*' }] }],
      'retention[0].tags[0] needs keepNewest, keepYoungerThan, or both; to remove all, write keepNewest: 0; found {"tags":"*"}.',
    ],
    [[{ repositories: '**', tags: [{ tags: [], keepNewest: 1 }] }], /must name at least one pattern/],
  ])('%j is refused with one clear error', (value, message) => {
    expect(() => compileRetention(value)).toThrow(message);
  });

  it.each([
    [
      [{ repositories: 'a/**' }],
      'quotas[0] needs bytes, bytesPerRepository, or both; found {"repositories":"a/**"}.',
    ],
    [
      [{ repositories: 'a', bytes: '10 GB' }],
      'quotas[0].bytes must be a number of bytes, with a unit if you like, such as 10Gi; found "10 GB".',
    ],
    [[{ repositories: 'a', bytes: -1 }], /^quotas\[0\]\.bytes must be/],
  ])('%j is refused as a quota', (value, message) => {
    expect(() => compileQuotas(value)).toThrow(message);
  });

  it('read quantities as Kubernetes writes them', () => {
    const bytes = (text: string | number) => compileQuotas([{ repositories: 'a', bytes: text }])[0]?.bytes;
    expect([bytes(5), bytes('5'), bytes('2k'), bytes('10Gi')]).toEqual([5, 5, 2000, 10 * 1024 ** 3]);
  });

  it('fail with their own error on anything at all', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        for (const compile of [compileRetention, compileQuotas]) {
          try {
            compile([value]);
          } catch (error) {
            if (!(error instanceof RegistrySetupError)) throw error;
          }
        }
      }),
    );
  });
});

describe('retention', () => {
  const times = fc.uniqueArray(fc.record({ name: fc.stringMatching(/^[a-c]-\d{1,3}$/), age: fc.nat(1000) }), {
    selector: ({ name }) => name,
    maxLength: 40,
  });

  it('keeps the newest, the young and what no rule fits, and removes the rest', () => {
    const rules = compileRetention([
      {
        repositories: '**',
        tags: [
          { tags: 'a-*', keepNewest: 3 },
          { tags: 'b-*', keepNewest: 1, keepYoungerThan: '500ms' },
        ],
      },
    ])[0];
    const digest = digestOf(Buffer.from('x'));
    fc.assert(
      fc.property(times, (entries) => {
        const tags = entries.map(({ name, age }) => ({ name, digest, updatedAt: 10_000 - age }));
        const gone = new Set(expiredTags(tags, rules?.tags ?? [], 10_000).map(({ name }) => name));
        for (const { name, updatedAt } of tags) {
          const newer = tags.filter(
            (other) => other.name[0] === name[0] && other.updatedAt > updatedAt,
          ).length;
          if (name.startsWith('c')) expect(gone.has(name)).toBe(false);
          if (name.startsWith('a') && newer >= 3) expect(gone.has(name)).toBe(true);
          if (name.startsWith('b')) {
            if (10_000 - updatedAt < 500) expect(gone.has(name)).toBe(false);
            else if (newer >= 1) expect(gone.has(name)).toBe(true);
          }
        }
        const kept = (letter: string) =>
          tags.filter(({ name }) => name.startsWith(letter) && !gone.has(name)).length;
        expect(kept('a')).toBe(Math.min(3, tags.filter(({ name }) => name.startsWith('a')).length));
      }),
    );
  });
});
