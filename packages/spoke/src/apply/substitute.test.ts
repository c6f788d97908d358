import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkVariables, substitute, SubstitutionError } from './substitute.ts';

const variables = new Map([
  ['name', 'mural'],
  ['path', 'a/b/a'],
  ['empty', ''],
]);

describe('substitute', () => {
  it.each([
    ['${name}', 'mural'],
    ['x-${name}-${name}', 'x-mural-mural'],
    ['$name and $(name)', '$name and $(name)'],
    ['$${name}', '${name}'],
    ['$${name} ${name}', '${name} mural'],
    ['${missing:-other}', 'other'],
    ['${missing:=other}', 'other'],
    ['${empty:-other}', 'other'],
    ['${empty-other}', ''],
    ['${missing:-${name}}', 'mural'],
    ['${name:-other}', 'mural'],
    ['${#name}', '5'],
    ['${name^}', 'Mural'],
    ['${name^^}', 'MURAL'],
    ['${name:1:3}', 'ura'],
    ['${name:2}', 'ral'],
    ['${path/a/x}', 'x/b/a'],
    ['${path//a/x}', 'x/b/x'],
    ['${path##*/}', 'a'],
    ['${path#*/}', 'b/a'],
    ['${path%/*}', 'a/b'],
    ['${path%%/*}', 'a'],
  ])('%s is %s', (text, expected) => {
    expect(substitute(text, variables)).toBe(expected);
  });

  it('fails for a variable that nobody set, by its name', () => {
    expect(() => substitute('a: ${missing}', variables)).toThrow('variable not set (strict mode): "missing"');
  });

  it.each(['${', '${name', '${1a}', '${}', '${name!x}'])('refuses %s', (text) => {
    expect(() => substitute(text, variables)).toThrow(SubstitutionError);
  });

  it('leaves text without ${ as it is', () => {
    fc.assert(
      fc.property(
        fc.string().filter((text) => !text.includes('${')),
        (text) => {
          expect(substitute(text, variables)).toBe(text);
        },
      ),
    );
  });

  it('ends with a text or a SubstitutionError, whatever the input', () => {
    const piece = fc.oneof(
      fc.string(),
      fc.constantFrom('${', '}', '$', 'name', ':-', '/', '#', '%', '*', '\\'),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        try {
          expect(typeof substitute(pieces.join(''), variables)).toBe('string');
        } catch (error) {
          expect(error).toBeInstanceOf(SubstitutionError);
        }
      }),
    );
  });
});

describe('checkVariables', () => {
  it('takes newlines out of values', () => {
    expect(checkVariables(new Map([['a', 'x\r\ny\n']])).get('a')).toBe('xy');
  });

  it('refuses names that no expression could use, and does not show the value', () => {
    expect(() => checkVariables(new Map([['a-b', 'hunter2']]))).toThrow(/'a-b' is invalid/);
    expect(() => checkVariables(new Map([['a-b', 'hunter2']]))).not.toThrow(/hunter2/);
  });
});
