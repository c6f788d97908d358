import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { emitYaml } from './emit.ts';

describe('canonical YAML', () => {
  it('sorts keys, quotes what could be read otherwise, and has one form', () => {
    const value = {
      spec: { ports: [{ port: 80, name: 'http' }, { port: 443 }], empty: {}, none: [], absent: undefined },
      kind: 'Service',
      yes: 'no',
      octal: '0644',
      multi: 'a\nb\n',
      nested: [[1, 2], []],
    };
    expect(emitYaml(value)).toBe(
      [
        'kind: Service',
        'multi: "a\\nb\\n"',
        'nested:',
        '  - - 1',
        '    - 2',
        '  - []',
        'octal: "0644"',
        'spec:',
        '  empty: {}',
        '  none: []',
        '  ports:',
        '    - name: http',
        '      port: 80',
        '    - port: 443',
        '"yes": "no"',
        '',
      ].join('\n'),
    );
  });

  it.each(['1.1', '1.2'] as const)('is read back as it was, as YAML %s', (version) => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
        const plain: unknown = JSON.parse(JSON.stringify(value));
        expect(parse(emitYaml({ value: plain }), { version })).toEqual({ value: plain });
      }),
      { numRuns: 300 },
    );
  });

  it('keeps whole numbers that a double cannot hold', () => {
    expect(emitYaml({ big: 12_345_678_901_234_567_890n })).toBe('big: 12345678901234567890\n');
  });
});
