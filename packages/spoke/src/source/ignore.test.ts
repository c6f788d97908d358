import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ignoreFilter } from './ignore.ts';

describe('patterns mean what gitignore(5) says', () => {
  it.each([
    ['*.md', ['a.md', 'sub/a.md'], ['a.mdx', 'md']],
    ['/a.md', ['a.md'], ['sub/a.md']],
    ['sub/a.md', ['sub/a.md'], ['x/sub/a.md']],
    ['build/', ['build/a', 'x/build/a'], ['build', 'rebuild/a']],
    ['**/x.yaml', ['x.yaml', 'a/x.yaml', 'a/b/x.yaml'], ['a/xx.yaml']],
    ['a/**', ['a/b', 'a/b/c'], ['a', 'b/a/c']],
    ['a/**/z', ['a/z', 'a/b/z', 'a/b/c/z'], ['z', 'az']],
    ['a?c', ['abc'], ['ac', 'a/c', 'abbc']],
    ['[ab].txt', ['a.txt', 'b.txt'], ['c.txt']],
    ['[!ab].txt', ['c.txt'], ['a.txt']],
    ['[a-c]1', ['b1'], ['d1']],
    ['[z-a]', ['[z-a]'], ['z']],
    ['\\*.md', ['*.md'], ['a.md']],
    ['\\#name', ['#name'], ['name']],
    ['/*\n!/deploy', ['a', 'docs/b'], ['deploy', 'deploy/a.yaml']],
    ['*\n!keep.yaml', ['a', 'sub/keep.yaml'], ['keep.yaml']],
    ['a/*/c', ['a/b/c'], ['a/c', 'a/b/d/c']],
    ['x', ['.git/config', '.gitmodules'], ['.github/a']],
    ['*.md\n!keep.md', ['a.md'], ['keep.md']],
    ['dir/\n!dir/keep.md', ['dir/a.md', 'dir/keep.md'], []],
    ['# a comment\n\n  \n', [], ['# a comment', 'a']],
    ['a.md   ', ['a.md'], []],
    ['a.md\r', ['a.md'], []],
    ['a+b(1).md', ['a+b(1).md'], ['aab1.md']],
  ])('%j', (patterns, ignored, kept) => {
    const filter = ignoreFilter(patterns);
    expect(ignored.filter((path) => !filter(path))).toEqual([]);
    expect(kept.filter((path) => filter(path))).toEqual([]);
  });
});

it('without patterns Flux’s defaults hold, with any only those of version control', () => {
  const paths = ['.git/HEAD', '.gitignore', 'pic.png', '.github/workflow.yaml', 'x/.sops.yaml', 'app.yaml'];
  const kept = (patterns: string | undefined): string[] => {
    const filter = ignoreFilter(patterns);
    return paths.filter((path) => !filter(path));
  };
  expect(kept(undefined)).toEqual(['app.yaml']);
  expect(kept('')).toEqual(['pic.png', '.github/workflow.yaml', 'x/.sops.yaml', 'app.yaml']);
});

it('no pattern takes long, however it is made', () => {
  const segment = ignoreFilter(`${'*a'.repeat(200)}b`);
  const folders = ignoreFilter(`x/${'**/a/'.repeat(200)}b`);
  const started = performance.now();
  expect(segment('a'.repeat(250))).toBe(false);
  expect(folders(`x/${'a/'.repeat(120)}c`)).toBe(false);
  expect(performance.now() - started).toBeLessThan(1000);
});

it('a path without special characters is ignored by its own name', () => {
  const name = fc.stringMatching(/^[a-z0-9._-]{1,8}$/).filter((text) => !/^\.+$/.test(text));
  fc.assert(
    fc.property(fc.array(name, { minLength: 1, maxLength: 4 }), (segments) => {
      const path = segments.join('/');
      expect(ignoreFilter(`/${path}`)(path)).toBe(true);
      expect(ignoreFilter(`/${path}`)(`other/${path}`)).toBe(path.startsWith('.git'));
    }),
    { numRuns: 50 },
  );
});

it('no text makes it throw', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.string(), (text, path) => void ignoreFilter(text)(path)),
  );
});
