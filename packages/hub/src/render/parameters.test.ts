import { describe, expect, it } from 'vitest';
import { mergeParameters, ParameterSchema } from './parameters.ts';

describe('merging parameters', () => {
  it('merges objects deeply, replaces lists and removes by null', () => {
    const merged = mergeParameters(
      { image: { name: 'a', tag: '1' }, args: ['x', 'y'], debug: true },
      undefined,
      { image: { tag: '2' }, args: ['z'], debug: null },
      { image: { pull: { policy: 'Always' } } },
    );
    expect(merged).toEqual({ image: { name: 'a', tag: '2', pull: { policy: 'Always' } }, args: ['z'] });
  });

  it('does not reach into prototypes', () => {
    mergeParameters(JSON.parse('{"__proto__": {"polluted": true}}') as Record<string, unknown>);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });
});

describe('the schema of parameters', () => {
  const schema = new ParameterSchema({
    properties: {
      replicas: { type: 'integer', default: 2, minimum: 1 },
      image: { type: 'object', properties: { tag: { type: 'string', default: 'latest' } }, default: {} },
      size: { enum: ['small', 'large'] },
      host: { type: 'string' },
    },
    required: ['host'],
    additionalProperties: false,
  });

  it('fills in defaults, inner ones too, and leaves its input alone', () => {
    const input = { host: 'a' };
    const real = new ParameterSchema({
      properties: {
        replicas: { type: 'integer', default: 2 },
        image: { properties: { tag: { default: 'x' } } },
      },
    });
    expect(real.complete({ image: {} })).toEqual({ replicas: 2, image: { tag: 'x' } });
    expect(schema.complete(input)).toMatchObject({ replicas: 2 });
    expect(input).toEqual({ host: 'a' });
  });

  it.each([
    [{ host: 'a', replicas: 'three' }, 'parameter replicas must be an integer, not a string'],
    [{ host: 'a', replicas: 1.5 }, 'parameter replicas must be an integer, not the number 1.5'],
    [{ host: 'a', replicas: 0 }, 'parameter replicas must be >= 1'],
    [{ host: 'a', image: { tag: 7 } }, 'parameter image.tag must be a string, not the number 7'],
    [{ host: 'a', size: 'huge' }, 'parameter size must be one of "small", "large", not a string'],
    [{}, 'parameter host is required'],
    [{ host: 'a', replica: 1 }, 'parameter replica does not exist; did you mean replicas?'],
  ])('refuses %j', (parameters, message) => {
    const run = () => schema.complete(parameters);
    expect(run).toThrow(message);
    expect(run).toThrow(expect.objectContaining({ code: 'ParametersInvalid' }));
  });

  it('must itself be one', () => {
    expect(() => new ParameterSchema({ properties: { a: { type: 'strnig' } } })).toThrow(
      /spec\.parameters of the profile is no JSON schema/,
    );
  });

  it('may be absent', () => {
    expect(new ParameterSchema(undefined).complete({ anything: [1] })).toEqual({ anything: [1] });
  });
});
