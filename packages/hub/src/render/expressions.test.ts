import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Evaluator } from './expressions.ts';

const variables = {
  params: { image: 'nginx:1.27', replicas: 3, ratio: 0.5, list: [1, 2], map: { a: 1 }, on: true, none: null },
  environment: { name: 'prod', namespace: 'default', labels: { tier: 'gold' } },
  spoke: { name: 'eu-1', labels: { region: 'eu' } },
  deployment: { name: 'shop', namespace: 'team', labels: {} },
};
const evaluate = (value: unknown) => new Evaluator('app', variables).evaluate(value, 'properties');

describe('expressions', () => {
  it.each([
    ['${params.image}', 'nginx:1.27'],
    ['${params.replicas}', 3],
    ['${params.replicas + 1}', 4],
    ['${ params.ratio * 2.0 }', 1],
    ['${params.on}', true],
    ['${params.none}', null],
    ['${params.list}', [1, 2]],
    ['${params.list.map(x, x * 2)}', [2, 4]],
    ['${params.map}', { a: 1 }],
    ['${{"port": params.replicas}}', { port: 3 }],
    ['${has(spoke.labels.zone) ? spoke.labels.zone : "none"}', 'none'],
    ['${environment.labels.tier == "gold" ? 3 : 1}', 3],
    ['${"}" + spoke.name}', '}eu-1'],
    ['${deployment.namespace}/${deployment.name}', 'team/shop'],
    ['replicas: ${params.replicas}', 'replicas: 3'],
    ['$${params.image}', '${params.image}'],
    ['a $${b} ${spoke.name} $', 'a ${b} eu-1 $'],
    ['cost: $5', 'cost: $5'],
    ['${params.image}\n', 'nginx:1.27\n'],
  ])('%j is %j', (text, wanted) => {
    expect(evaluate(text)).toEqual(wanted);
  });

  it('are found anywhere in a value, and keys are left alone', () => {
    expect(evaluate({ a: [{ '${b}': '${params.replicas}' }], n: 1 })).toEqual({ a: [{ '${b}': 3 }], n: 1 });
  });

  it.each([
    ['${params.nope}', /properties\.a: the expression \$\{params\.nope\} failed: No such key: nope/],
    ['${params.image', /has no closing brace/],
    ['${1 +}', /\$\{1 \+\} failed/],
    ['${}', /it is empty/],
    ['${secret}', /Unknown variable: secret/],
    ['x ${params.list}', /its value is a list and cannot be part of a text/],
    ['x ${params.map}', /its value is an object and cannot be part of a text/],
    ['${1.0 / 0.0}', /its value is Infinity/],
  ])('%j fails with component, path and expression', (text, message) => {
    const run = () => evaluate({ a: text });
    expect(run).toThrow(message);
    expect(run).toThrow(/^component app, properties\.a/);
    expect(run).toThrow(expect.objectContaining({ code: 'ExpressionFailed' }));
  });

  it('tell how much of the spoke they look at', () => {
    const useOf = (text: string) => {
      const evaluator = new Evaluator('app', variables);
      evaluator.evaluate(text, 'properties');
      return evaluator.spokeUse;
    };
    expect(useOf('${params.image}')).toBe('none');
    expect(useOf('${spoke.labels.region}')).toBe('labels');
    expect(useOf('${has(spoke.labels.zone)}')).toBe('labels');
    expect(useOf('${spoke.name}')).toBe('all');
    expect(useOf('${spoke["labels"]}')).toBe('all');
    // The branch that is not taken here may be taken on another spoke.
    expect(useOf('${params.on ? "x" : spoke.name}')).toBe('all');
  });

  it('leave text without ${ as it is, and escaping is undone exactly', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('$', '{', '}', 'a', ' ') }), (text) => {
        expect(evaluate(text.replaceAll('${', () => '$${'))).toBe(text);
      }),
      { numRuns: 1000 },
    );
  });
});
