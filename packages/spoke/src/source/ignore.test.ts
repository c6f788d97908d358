import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ignoreFilter } from './ignore.ts';

describe('without patterns', () => {
  const ignored = ignoreFilter(undefined);

  it.each([
    '.git/config',
    'a/.gitignore',
    'logo.png',
    'docs/pictures/x.jpg',
    'a.tar.gz',
    '.github/x.yml',
    'a/.flux.yaml',
  ])('leaves out %s, as Flux does', (path) => expect(ignored(path)).toBe(true));

  it.each(['app.yaml', 'a/b/kustomization.yaml', 'png', 'gitignore'])('keeps %s', (path) =>
    expect(ignored(path)).toBe(false),
  );
});

describe('with patterns', () => {
  it.each([
    ['*.txt', 'a/b.txt', true],
    ['/deploy', 'deploy/a.yaml', true],
    ['/deploy', 'x/deploy/a.yaml', false],
    ['docs/', 'docs', false],
    ['docs/', 'a/docs/b.md', true],
    ['a/**/z', 'a/z', true],
    ['a/**/z', 'a/b/c/z', true],
    ['**/x.yaml', 'a/b/x.yaml', true],
    ['a/*/c', 'a/b/d/c', false],
    ['file?.yaml', 'file1.yaml', true],
    ['file[0-9].yaml', 'filex.yaml', false],
    ['file[!0-9].yaml', 'filex.yaml', true],
    ['# comment', '# comment', false],
    ['\\#name', '#name', true],
    ['*\n!keep.yaml', 'keep.yaml', false],
    ['/*\n!/deploy', 'deploy/a.yaml', false],
    ['dir/\n!dir/keep', 'dir/keep', true],
    ['x', '.git/config', true],
  ])('%j and %s: %s', (patterns, path, expected) => {
    expect(ignoreFilter(patterns)(path)).toBe(expected);
  });

  it('no default but that for version control holds', () => {
    expect(ignoreFilter('*.md')('logo.png')).toBe(false);
  });

  it('any text is a list of patterns', () => {
    fc.assert(
      fc.property(fc.string(), fc.string({ minLength: 1 }), (patterns, path) => {
        expect(typeof ignoreFilter(patterns)(path)).toBe('boolean');
      }),
    );
  });
});
