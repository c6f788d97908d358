import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkVariables, substitute, SubstitutionError } from './substitute.ts';

const variables = new Map([
  ['NAME', 'Abc.tar.gz'],
  ['low', 'abc'],
  ['empty', ''],
  ['uni', 'äöü'],
]);

describe('substitution', () => {
  it.each([
    ['plain', 'plain'],
    ['${low}', 'abc'],
    ['a${low}b${low}c', 'aabcbabcc'],
    ['${none:-x}', 'x'],
    ['${none:=x}', 'x'],
    ['${none-x}', 'x'],
    ['${empty:-x}', 'x'],
    ['${empty-x}', ''],
    ['${empty:=x}', 'x'],
    ['${none:-}', ''],
    ['${none:-${low}}', 'abc'],
    ['${none:-a}b}', 'ab}'],
    ['$${low}', '${low}'],
    ['$$${low}', '$${low}'],
    ['$low', '$low'],
    ['$', '$'],
    ['cost: 5$', 'cost: 5$'],
    ['${#uni}', '3'],
    ['${low^}', 'Abc'],
    ['${low^^}', 'ABC'],
    ['${NAME,}', 'abc.tar.gz'],
    ['${NAME,,}', 'abc.tar.gz'],
    ['${NAME:0:3}', 'Abc'],
    ['${NAME:4}', 'tar.gz'],
    ['${NAME: -2}', 'gz'],
    ['${NAME#*.}', 'tar.gz'],
    ['${NAME##*.}', 'gz'],
    ['${NAME%.*}', 'Abc.tar'],
    ['${NAME%%.*}', 'Abc'],
    ['${NAME#Abc}', '.tar.gz'],
    ['${NAME%gz}', 'Abc.tar.'],
    ['${NAME#nothing}', 'Abc.tar.gz'],
    ['${NAME/a/A}', 'Abc.tAr.gz'],
    ['${NAME//./-}', 'Abc-tar-gz'],
    ['${NAME//.}', 'Abctargz'],
    ['${NAME/\\//x}', 'Abc.tar.gz'],
    ['${low/b/$&}', 'a$&c'],
  ])('%s is %s', (text, result) => {
    expect(substitute(text, variables)).toBe(result);
  });

  it.each([
    ['${none}', 'VariableUndefined', 'variable not set (strict mode): "none"'],
    ['${#none}', 'VariableUndefined', '"none"'],
    ['${low', 'ExpressionInvalid', 'closing brace'],
    ['${}', 'ExpressionInvalid', 'is not a substitution'],
    ['${1a}', 'ExpressionInvalid', 'is not a substitution'],
    ['${low!}', 'ExpressionInvalid', 'is not a substitution'],
  ])('%s is %s', (text, code, message) => {
    expect(() => substitute(text, variables)).toThrow(expect.objectContaining({ code }));
    expect(() => substitute(text, variables)).toThrow(message);
  });

  it('never takes long to trim', () => {
    const long = new Map([['V', 'a'.repeat(2000)]]);
    const started = performance.now();
    expect(substitute(`\${V##${'*a'.repeat(50)}b}`, long)).toBe('a'.repeat(2000));
    expect(performance.now() - started).toBeLessThan(2000);
    const tooLong = new Map([['V', 'a'.repeat(5000)]]);
    expect(() => substitute('${V##*b}', tooLong)).toThrow('cannot be trimmed');
  });
});

describe('variables', () => {
  it('lose newlines', () => {
    expect(checkVariables(new Map([['a', 'x\r\ny\n']]))).toEqual(new Map([['a', 'xy']]));
  });

  it.each(['', '1a', 'a-b', 'a.b', 'a b', 'ä'])('must have a name, which %j is not', (name) => {
    expect(() => checkVariables(new Map([[name, 'secret']]))).toThrow(/is invalid, must match/);
    expect(() => checkVariables(new Map([[name, 'secret']]))).not.toThrow(/secret/);
  });
});

const name = fc.stringMatching(/^[_A-Za-z][_A-Za-z0-9]{0,5}$/);
const harmless = fc.string().filter((text) => !text.includes('$'));

describe('for any text', () => {
  it('what has no ${ stays as it is', () => {
    fc.assert(
      fc.property(
        fc.string().filter((text) => !text.includes('${')),
        (text) => {
          expect(substitute(text, variables)).toBe(text);
        },
      ),
    );
  });

  it('the escape gives the text back', () => {
    const braces = fc
      .array(
        fc.oneof(
          harmless,
          name.map((word) => `\${${word}}`),
        ),
      )
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(braces, (text) => {
        expect(
          substitute(
            text.replaceAll('${', () => '$${'),
            new Map(),
          ),
        ).toBe(text);
      }),
    );
  });

  it('a value is put in as it is, and not substituted again', () => {
    fc.assert(
      fc.property(harmless, name, fc.string(), harmless, (before, word, value, after) => {
        expect(substitute(`${before}\${${word}}${after}`, new Map([[word, value]]))).toBe(
          before + value + after,
        );
      }),
    );
  });

  it('a failure is a SubstitutionError that shows no value', () => {
    const text = fc
      .array(fc.constantFrom('${', '}', 'V', ':', '-', '#', '%', '/', '*', '$', 'x', '^', ' '))
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(text, (expression) => {
        try {
          substitute(expression, new Map([['V', 'S3CRET']]));
        } catch (error) {
          expect(error).toBeInstanceOf(SubstitutionError);
          expect(String(error)).not.toContain('S3CRET');
        }
      }),
    );
  });
});
