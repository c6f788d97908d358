import { globSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from './support/mural.ts';

const packages = globSync('packages/*/package.json', { cwd: ROOT }).map((path) => path.split('/')[1] ?? '');

/** The packages that a source file imports, by name. */
function imported(path: string): string[] {
  const text = readFileSync(join(ROOT, path), 'utf8');
  const statements = text.matchAll(
    /(?:^import|^\} from|^export .* from|^import .* from| import\()\s*'([@a-z][^'\s]*)'/gm,
  );
  return [...statements]
    .map(([, name = '']) => name)
    .filter((name) => !isBuiltin(name))
    .map((name) =>
      name
        .split('/')
        .slice(0, name.startsWith('@') ? 2 : 1)
        .join('/'),
    );
}

describe.each(packages)('packages/%s', (name) => {
  it('declares what its sources import, and nothing more', () => {
    const manifest = JSON.parse(readFileSync(join(ROOT, 'packages', name, 'package.json'), 'utf8')) as {
      dependencies?: Record<string, string>;
    };
    const sources = globSync(`packages/${name}/src/**/*.ts`, { cwd: ROOT }).filter(
      (path) => !path.endsWith('.test.ts'),
    );
    const used = new Set(sources.flatMap(imported));
    expect([...used].sort()).toEqual(Object.keys(manifest.dependencies ?? {}).sort());
  });
});
