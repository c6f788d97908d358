import { expect, it } from 'vitest';
import { parseManifestsOnce } from './parse-cache.ts';

it('reads the same text to equal values that do not share state', () => {
  const text = 'kind: A\nlist: [1]\n---\nkind: B\n';
  const first = parseManifestsOnce(text, 'a.yaml') as { list?: number[] }[];
  first[0]?.list?.push(2);
  expect(parseManifestsOnce(text, 'b.yaml')).toEqual([{ kind: 'A', list: [1] }, { kind: 'B' }]);
});

it('names the file each time that its text is wrong', () => {
  expect(() => parseManifestsOnce('a: [', 'a.yaml')).toThrow(/a\.yaml/);
  expect(() => parseManifestsOnce('a: [', 'b.yaml')).toThrow(/b\.yaml/);
});
