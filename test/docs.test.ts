import { existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from './support/mural.ts';

const documents = globSync(['*.md', 'docs/*.md'], { cwd: ROOT });

describe.each(documents)('%s', (document) => {
  const text = readFileSync(join(ROOT, document), 'utf8');

  it('names only files that are there', () => {
    const named = [...text.matchAll(/`((?:packages|test|scripts|bench|examples|docs)\/[\w./-]+)`/g)];
    const linked = [...text.matchAll(/\]\(((?!https?:)[^)#]+)\)/g)];
    const missing = [
      ...named.map(([, path = '']) => join(ROOT, path)),
      ...linked.map(([, path = '']) => join(ROOT, document, '..', path)),
    ].filter((path) => !existsSync(path));
    expect(missing).toEqual([]);
  });
});
