import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareVersions, greatest, parseRange, parseVersion, type Version } from './semver.ts';

function accepts(range: string, text: string): boolean | undefined {
  const version = parseVersion(text);
  return version === undefined ? undefined : parseRange(range)?.(version);
}

describe('a range accepts what Masterminds semver accepts', () => {
  it.each([
    ['1.2.3', ['1.2.3', 'v1.2.3'], ['1.2.4', '1.2.3-a']],
    ['=1.2', ['1.2.0', '1.2.9'], ['1.3.0']],
    ['>1.2', ['1.3.0', '2.0.0'], ['1.2.0', '1.2.9']],
    ['>=1.2', ['1.2.0', '9.0.0'], ['1.1.9', '1.3.0-rc.1']],
    ['<=1.2', ['1.2.9', '0.1.0'], ['1.3.0']],
    ['<1.2', ['1.1.9'], ['1.2.0']],
    ['!=1.2.x', ['1.3.0'], ['1.2.7']],
    ['~1.2', ['1.2.0', '1.2.9'], ['1.3.0', '1.1.0']],
    ['~1', ['1.0.0', '1.9.0'], ['2.0.0']],
    ['~1.2.3', ['1.2.3', '1.2.9'], ['1.2.2', '1.3.0']],
    ['^1.2', ['1.2.0', '1.9.0'], ['2.0.0', '1.1.0']],
    ['^0.2.3', ['0.2.3', '0.2.9'], ['0.3.0', '0.2.2']],
    ['^0.0.3', ['0.0.3'], ['0.0.4']],
    ['^0', ['0.0.0', '0.9.0'], ['1.0.0']],
    ['*', ['0.0.1', '99.0.0'], ['1.0.0-a']],
    ['1.2.x', ['1.2.0'], ['1.3.0']],
    ['1.2 - 1.4', ['1.2.0', '1.4.9'], ['1.5.0', '1.1.0']],
    ['>=1.0 <2.0 || >=3.0', ['1.5.0', '3.1.0'], ['2.5.0']],
    ['>= 1.0, < 2.0', ['1.5.0'], ['2.0.0']],
    ['>=1.0.0-0', ['1.0.0-alpha', '1.1.0-rc.1', '1.1.0'], ['0.9.0']],
    ['~1.2.3-0', ['1.2.3-alpha', '1.2.4-alpha', '1.2.9'], ['1.3.0-alpha', '1.3.0']],
    ['^1.2.3-0', ['1.9.0-rc.1', '1.9.0'], ['2.0.0-alpha', '2.0.0']],
  ])('%s', (range, yes, no) => {
    expect(yes.filter((text) => accepts(range, text) !== true)).toEqual([]);
    expect(no.filter((text) => accepts(range, text) !== false)).toEqual([]);
  });

  it.each(['', 'x.y', '>>1', '1.2.3.4', '1 ||', 'latest', '>=1.0 && <2'])('and %j is none', (range) => {
    expect(parseRange(range)).toBeUndefined();
  });
});

it('versions are ordered as semver.org 2.0 §11 orders its examples', () => {
  const order = [
    ...['1.0.0-alpha', '1.0.0-alpha.1', '1.0.0-alpha.beta', '1.0.0-beta', '1.0.0-beta.2', '1.0.0-beta.11'],
    ...['1.0.0-rc.1', '1.0.0', '1.0.1', '1.1.0', '1.11.0', '2.0.0'],
  ];
  const parsed = order.map((text) => parseVersion(text) as Version);
  expect(parsed.toReversed().toSorted(compareVersions)).toEqual(parsed);
});

it.each(['', 'latest', '1.2.3.4', '01a', '1.2.3-', 'sha256-abc', '1..2', '-1'])(
  '%j is no version',
  (text) => {
    expect(parseVersion(text)).toBeUndefined();
  },
);

const number = fc.integer({ min: 0, max: 30 });
const prerelease = fc.option(fc.constantFrom('alpha', 'alpha.1', 'rc.2', '0', '1'), { nil: undefined });
const version = fc
  .tuple(number, number, number, prerelease)
  .map(([major, minor, patch, pre]) => `${major}.${minor}.${patch}${pre === undefined ? '' : `-${pre}`}`);

describe('for any versions', () => {
  it('the order is total', () => {
    fc.assert(
      fc.property(version, version, version, (x, y, z) => {
        const [a, b, c] = [x, y, z].map((text) => parseVersion(text) as Version) as [
          Version,
          Version,
          Version,
        ];
        expect(Math.sign(compareVersions(a, b))).toBe(-Math.sign(compareVersions(b, a)) + 0);
        if (compareVersions(a, b) <= 0 && compareVersions(b, c) <= 0)
          expect(compareVersions(a, c)).toBeLessThanOrEqual(0);
      }),
    );
  });

  it('a range is what its two bounds say', () => {
    fc.assert(
      fc.property(version, number, number, number, (text, major, minor, patch) => {
        const low = `${major}.${minor}.${patch}`;
        expect(accepts(`~${low}`, text)).toBe(accepts(`>=${low} <${major}.${minor + 1}.0`, text));
        if (major > 0) expect(accepts(`^${low}`, text)).toBe(accepts(`>=${low} <${major + 1}.0.0`, text));
        expect(accepts(`!=${low}`, text)).toBe(!text.includes('-') && !(accepts(low, text) ?? false));
        expect(accepts(`>${low} || <=${low}`, text)).toBe(!text.includes('-'));
      }),
    );
  });

  it('the greatest is accepted, and none that is accepted is greater', () => {
    fc.assert(
      fc.property(fc.array(version), version, (tags, bound) => {
        const range = parseRange(`>=${bound}`);
        const best = greatest(['latest', ...tags], range ?? (() => false));
        const fits = tags.filter((tag) => accepts(`>=${bound}`, tag));
        if (best === undefined) expect(fits).toEqual([]);
        else {
          expect(fits).toContain(best);
          for (const tag of fits) {
            expect(
              compareVersions(parseVersion(best) as Version, parseVersion(tag) as Version),
            ).toBeGreaterThanOrEqual(0);
          }
        }
      }),
    );
  });

  it('no text makes the parser throw', () => {
    fc.assert(fc.property(fc.string(), fc.string(), (range, text) => void accepts(range, text)));
  });
});
