import { globSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { defaultValues, lintValues, parseValues, valuesSchema } from '@mural/values';
import { beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { fill, SNIPPETS, wholeFile } from '../packages/values/src/testing/seed.ts';
import { generatedCharts } from '../scripts/generate-charts.ts';
import { ROOT } from './support/mural.ts';

const CHARTS = join(ROOT, 'charts');
const read = (path: string): string => readFileSync(join(CHARTS, path), 'utf8');

describe('the charts', () => {
  it('hold what the code says: write it anew with scripts/generate-charts.ts', () => {
    const generated = generatedCharts();
    for (const [path, text] of generated) expect(read(path), path).toBe(text);
    const definitions = globSync('mural-crds/templates/*', { cwd: CHARTS });
    expect(definitions.sort()).toEqual(
      [...generated.keys()].filter((path) => definitions.includes(path)).sort(),
    );
  });

  it.each(['mural', 'mural-crds'])('%s has the version of the project', (name) => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
    expect(parse(read(`${name}/Chart.yaml`))).toMatchObject({ name, version, appVersion: version });
  });

  it('has the defaults that an empty file has', () => {
    const { values, findings } = parseValues(read('mural/values.yaml'), 'values.yaml');
    expect(findings).toEqual([]);
    expect(values).toEqual(defaultValues());
  });

  it('keeps the definitions when the chart is uninstalled', () => {
    for (const path of globSync('mural-crds/templates/*.yaml', { cwd: CHARTS })) {
      expect(parse(read(path))).toMatchObject({
        kind: 'CustomResourceDefinition',
        metadata: { annotations: { 'helm.sh/resource-policy': 'keep' } },
      });
    }
  });
});

/** What ajv compiles a schema to. */
interface Validate {
  (data: unknown): boolean;
  readonly errors?: unknown;
}

describe('values.schema.json', () => {
  let validate: Validate;
  beforeAll(() => {
    const hub = createRequire(join(ROOT, 'packages/hub/package.json'));
    const ajv = hub('ajv') as {
      readonly Ajv: new (options: object) => { compile(schema: object): Validate };
    };
    validate = new ajv.Ajv({ strict: true, allowUnionTypes: true }).compile(valuesSchema());
  });
  const accepts = (text: string): boolean => validate(parse(text));

  it.each(Object.entries(SNIPPETS))(
    'accepts %s of the guide, with placeholders and without',
    (_name, text) => {
      expect(accepts(text)).toBe(true);
      expect(accepts(fill(text))).toBe(true);
    },
  );

  it('accepts whole files, keys of other charts, and an empty one', () => {
    for (const text of [
      wholeFile('private'),
      wholeFile('public'),
      '{}',
      'canvas: { enableHTTP: true }\nflux2: { policies: { create: false } }\nfleetConfig: { hub: { name: hub } }',
      'zot: { service: { nodePort: 30003 } }\nmine: 1',
      'hue: { ociRegistry: { basicAuth: null } }',
    ]) {
      expect(accepts(text), text).toBe(true);
    }
  });

  it.each([
    ['Hue: {}', 'Hue'],
    ['hue: { ociregistry: {} }', 'ociregistry'],
    ['flux2: { sourceController: { serviceaccount: {} } }', 'serviceaccount'],
    ['flux2: { SourceController: {} }', 'SourceController'],
    ['ZOT: {}', 'ZOT'],
    ['fleetconfig: {}', 'fleetconfig'],
    ['zot: { enabled: "false" }', '/zot/enabled'],
    ['hue: { ociRegistry: { timeout: 60 } }', '/hue/ociRegistry/timeout'],
    ['hue: { ociRegistry: { interval: often } }', '/hue/ociRegistry/interval'],
    ['hue: { ociRegistry: { provider: AWS } }', '/hue/ociRegistry/provider'],
    ['hue: { ociRegistry: { endpoint: https://a.example } }', '/hue/ociRegistry/endpoint'],
    ['hue: { ociRegistry: { endpoint: oci://a.example//b } }', '/hue/ociRegistry/endpoint'],
    ['hue: { ociRegistry: { endpoint: null } }', '/hue/ociRegistry/endpoint'],
    ['hue: { annotations: {} }', 'annotations'],
    ['fleetConfig: { spokes: [{ ociRegistry: {} }] }', 'name'],
    ['fleetConfig: { spokes: [{ name: Spoke_1 }] }', '/fleetConfig/spokes/0/name'],
  ])('refuses %j as the lint does, naming the key', (text, key) => {
    expect(accepts(text)).toBe(false);
    expect(JSON.stringify(validate.errors)).toContain(key);
    expect(lintValues(text, 'values.yaml')).not.toEqual([]);
  });
});
