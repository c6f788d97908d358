import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ManifestError, parseManifests, parseOne, writeYaml } from './yaml.ts';

describe('a manifest', () => {
  it('is read as Kubernetes reads it', () => {
    const text = 'octal: 0644\nyes: yes\noff: off\nquoted: "yes"\nfloat: 1.5\ndate: 2026-01-02\ny: y\n';
    expect(parseManifests(text, 'a.yaml')).toEqual([
      { octal: 420, true: true, false: false, quoted: 'yes', float: 1.5, date: '2026-01-02', y: 'y' },
    ]);
  });

  it('may have many documents, empty ones among them', () => {
    expect(parseManifests('---\na: 1\n---\n# nothing\n---\nb: 2\n---\n', 'a.yaml')).toEqual([
      { a: 1 },
      { b: 2 },
    ]);
  });

  it('may merge maps and be JSON', () => {
    expect(parseManifests('a: &x {k: 1}\nb:\n  <<: *x\n  l: 2\n', 'a.yaml')).toEqual([
      { a: { k: 1 }, b: { k: 1, l: 2 } },
    ]);
    expect(parseManifests(' {"a": [1]}', 'a.yaml')).toEqual([{ a: [1] }]);
  });

  it.each([
    ['a: 1\nb: [\n', /^deploy\/a\.yaml:\d: /],
    ['a: 1\n---\nk: 1\nk: 2\n', /^deploy\/a\.yaml:4: /],
  ])('that is broken is told with file and line: %j', (text, expected) => {
    expect(() => parseManifests(text, 'deploy/a.yaml')).toThrow(expected);
  });

  it('cannot grow out of its aliases', () => {
    const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x]'];
    for (let n = 1; n < 9; n += 1) {
      lines.push(`a${n}: &a${n} [${Array.from({ length: 9 }, () => `*a${n - 1}`).join(', ')}]`);
    }
    expect(() => parseManifests(lines.join('\n'), 'a.yaml')).toThrow(ManifestError);
  });
});

describe('what is written', () => {
  it('is read back as the same value, strings that look like others among them', () => {
    const tricky = fc.constantFrom(
      'yes',
      'Off',
      'no',
      '0644',
      '1e3',
      'null',
      '~',
      '1_000',
      '2026-01-02',
      '- a',
      'a: b',
    );
    const text = fc.oneof(fc.string(), tricky, fc.string({ unit: 'grapheme' }));
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 3 },
        text,
        fc.integer(),
        fc.boolean(),
        fc.constant(null),
        fc.array(tie('value'), { maxLength: 3 }),
        fc.dictionary(
          text.filter((key) => key !== '__proto__' && key !== '<<'),
          tie('value'),
          { maxKeys: 3, noNullPrototype: true },
        ),
      ),
    }));
    fc.assert(
      fc.property(value, (input) => {
        expect(parseOne(writeYaml({ input }), 'test')).toEqual({ input });
      }),
    );
  });
});
