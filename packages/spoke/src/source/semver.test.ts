import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareVersions, greatest, parseRange, parseVersion, type Version } from './semver.ts';

function version(text: string): Version {
  const parsed = parseVersion(text);
  if (parsed === undefined) throw new Error(`${text} is no version`);
  return parsed;
}

function accepts(range: string, text: string): boolean {
  const test = parseRange(range);
  if (test === undefined) throw new Error(`${range} is no range`);
  return test(version(text));
}

describe('precedence', () => {
  it('is that of semver.org §11', () => {
    const ordered = [
      ...['1.0.0-alpha', '1.0.0-alpha.1', '1.0.0-alpha.beta', '1.0.0-beta', '1.0.0-beta.2'],
      ...['1.0.0-beta.11', '1.0.0-rc.1', '1.0.0', '1.0.1', '1.10.0', '2.0.0'],
    ];
    const shuffled = ordered.toReversed().map(version);
    expect(shuffled.sort(compareVersions).map(({ text }) => text)).toEqual(ordered);
  });

  it('orders any three versions without contradiction', () => {
    const number = fc.integer({ min: 0, max: 3 });
    const pre = fc.constantFrom('', '-a', '-1', '-a.1', '-a.b', '-2');
    const any = fc.tuple(number, number, number, pre).map(([a, b, c, d]) => version(`${a}.${b}.${c}${d}`));
    fc.assert(
      fc.property(any, any, any, (a, b, c) => {
        expect(Math.sign(compareVersions(a, b))).toBe(-Math.sign(compareVersions(b, a)) + 0);
        if (compareVersions(a, b) <= 0 && compareVersions(b, c) <= 0) {
          expect(compareVersions(a, c)).toBeLessThanOrEqual(0);
        }
      }),
    );
  });
});

describe('a range', () => {
  it.each([
    ['1.2.3', '1.2.3', true],
    ['1.2', '1.2.9', true],
    ['1.2', '1.3.0', false],
    ['1.x', '1.99.0', true],
    ['*', '7.1.2', true],
    ['*', '7.1.2-rc.1', false],
    ['>=1.0.0-0', '1.0.0-rc.1', true],
    ['>1.2', '1.2.9', false],
    ['>1.2', '1.3.0', true],
    ['<=1.2', '1.2.9', true],
    ['<1.2', '1.2.0', false],
    ['>= 1.0, < 2', '1.5.0', true],
    ['>= 1.0 < 2', '2.0.0', false],
    ['!=1.2', '1.2.5', false],
    ['~1.2.3', '1.2.9', true],
    ['~1.2.3', '1.3.0', false],
    ['~1', '1.9.0', true],
    ['^1.2.3', '1.9.9', true],
    ['^1.2.3', '2.0.0', false],
    ['^0.2.3', '0.2.9', true],
    ['^0.2.3', '0.3.0', false],
    ['^0.0.3', '0.0.4', false],
    ['1.2 - 1.4', '1.4.9', true],
    ['1.2 - 1.4', '1.5.0', false],
    ['<1 || >=3', '3.0.0', true],
    ['<1 || >=3', '2.0.0', false],
    ['v1.x', 'v1.4.0', true],
  ])('%s takes %s: %s', (range, text, expected) => {
    expect(accepts(range, text)).toBe(expected);
  });

  it.each(['', '>', 'abc', '1.2.3.4', '>=1 &&', '1 -'])('refuses %j', (range) => {
    expect(parseRange(range)).toBeUndefined();
  });

  it('never throws, whatever the text', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        parseRange(text)?.(version('1.2.3'));
      }),
    );
  });
});

describe('greatest', () => {
  it('chooses among tags, passing over what is no version', () => {
    const test = parseRange('>=1.0.0');
    expect(test && greatest(['latest', '1.0.0', 'v1.10.0', '1.9.3', '2.0.0-rc.1'], test)).toBe('v1.10.0');
    expect(test && greatest(['latest', '0.9.0'], test)).toBeUndefined();
  });
});
