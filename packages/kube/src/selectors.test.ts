import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatSelector, matchesRequirements, matchesSelector, parseSelector } from './selectors.ts';

const labels = { app: 'web', tier: 'front', empty: '' };

describe('selectors', () => {
  it.each([
    ['', true],
    ['app=web', true],
    ['app==web,tier!=back', true],
    ['app = web , tier', true],
    ['app=api', false],
    ['missing!=x', true],
    ['!missing', true],
    ['!app', false],
    ['app in (api, web),tier notin (back)', true],
    ['missing notin (a)', true],
    ['missing in (a)', false],
    ['empty=', true],
    ['toString', false],
  ])('%j selects: %j', (text, expected) => {
    expect(matchesRequirements(parseSelector(text), labels)).toBe(expected);
  });

  it.each(['a in b', 'a in (b', 'a=b=c', '=x', 'a,,b', 'a b', 'a=(', '-a', 'a=b c', 'a in (b)c'])(
    'refuses %j',
    (text) => {
      expect(() => parseSelector(text)).toThrow(expect.objectContaining({ code: 'BadRequest' }));
    },
  );

  it('matches everything when empty, and objects without labels as such', () => {
    expect(matchesSelector({}, undefined)).toBe(true);
    expect(matchesSelector({ matchLabels: { a: 'b' } }, undefined)).toBe(false);
    expect(matchesSelector({ matchExpressions: [{ key: 'a', operator: 'NotIn', values: ['b'] }] }, {})).toBe(
      true,
    );
  });

  it('means the same when written as a query and read again', () => {
    const word = fc.stringMatching(/^[a-z][a-z0-9]{0,4}$/);
    const expression = fc.oneof(
      fc.record({
        key: word,
        operator: fc.constantFrom('In' as const, 'NotIn' as const),
        values: fc.array(word, { minLength: 1, maxLength: 3 }),
      }),
      fc.record({ key: word, operator: fc.constantFrom('Exists' as const, 'DoesNotExist' as const) }),
    );
    const selector = fc.record({
      matchLabels: fc.dictionary(word, word, { maxKeys: 3 }),
      matchExpressions: fc.array(expression, { maxLength: 3 }),
    });
    fc.assert(
      fc.property(selector, fc.dictionary(word, word), (given, some) => {
        const all = { ...some, ...given.matchLabels };
        for (const object of [some, all]) {
          expect(matchesRequirements(parseSelector(formatSelector(given)), object)).toBe(
            matchesSelector(given, object),
          );
        }
      }),
    );
  });
});
