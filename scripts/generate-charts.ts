/**
 * Writes what the charts take from the code: the schema of the values, and the custom resource
 * definitions.
 *
 *     npx node scripts/generate-charts.ts
 */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { customResourceDefinitions } from '@mural/kube';
import { valuesSchema } from '@mural/values';
import { stringify } from 'yaml';

const CHARTS = fileURLToPath(new URL('../charts', import.meta.url));
const TEMPLATES = 'mural-crds/templates';

/** The generated files of the charts, by their path below `charts`. */
export function generatedCharts(): ReadonlyMap<string, string> {
  const files = new Map([['mural/values.schema.json', `${JSON.stringify(valuesSchema(), null, 2)}\n`]]);
  for (const definition of customResourceDefinitions()) {
    const { metadata } = definition;
    // Without the annotation, an uninstall would delete every object of the kind with its definition.
    const annotations = { ...metadata.annotations, 'helm.sh/resource-policy': 'keep' };
    const text = stringify({ ...definition, metadata: { ...metadata, annotations } }, { lineWidth: 0 });
    // To Helm the file is a template, and two braces in a description would be code.
    const literal = text.replaceAll('{{', '{{ "{{" }}');
    files.set(`${TEMPLATES}/${metadata.name ?? ''}.yaml`, literal);
  }
  return files;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const files = generatedCharts();
  const folder = join(CHARTS, TEMPLATES);
  mkdirSync(folder, { recursive: true });
  for (const name of readdirSync(folder)) {
    if (!files.has(`${TEMPLATES}/${name}`)) rmSync(join(folder, name));
  }
  for (const [path, text] of files) writeFileSync(join(CHARTS, path), text);
}
