import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Document, isMap, isScalar, parse, parseDocument, stringify } from 'yaml';

/** Names of the files in the operator's folder. */
export const VALUES = 'values.yaml';
export const VALUES_PUBLIC = 'values-public.yaml';
export const RELEASE = 'mural-helmrelease.yaml';
export const WORKLOAD = 'workload.yaml';

/** Values of an installation with the default registry, with the accounts that a chart gives it. */
export const DEFAULT_VALUES = `hue:
  ociRegistry:
    enabled: true
    repository: 'mural-workloads'
    insecure: false
    interval: 5m
    timeout: 60s
    provider: 'generic'
    basicAuth:
      username: 'mural'
      password: 'a-password-of-the-default-registry'
fleetConfig:
  spokes:
    - name: hub-as-spoke
      labels:
        tier: hub
    - name: spoke-1
      labels:
        tier: edge
      ociRegistry:
        basicAuth:
          username: 'mural'
          password: 'a-password-of-the-default-registry'
zot:
  enabled: true
`;

/** A workload for the whole fleet: a ConfigMap whose content is a parameter. */
export function workload(message: string): string {
  return `apiVersion: mural.dev/v1alpha1
kind: WorkloadProfile
metadata:
  name: hello
spec:
  parameters:
    type: object
    properties:
      message: { type: string }
  components:
    - name: settings
      type: manifests
      properties:
        objects:
          - apiVersion: v1
            kind: ConfigMap
            metadata:
              name: hello
            data:
              message: \${params.message}
---
apiVersion: mural.dev/v1alpha1
kind: Environment
metadata:
  name: everywhere
spec:
  spokeSelector: {}
---
apiVersion: mural.dev/v1alpha1
kind: WorkloadDeployment
metadata:
  name: hello
spec:
  profileRef: { name: hello }
  environmentRef: { name: everywhere }
  parameters:
    message: ${JSON.stringify(message)}
`;
}

/** Something in a values file: keys, and names of spokes in the place of their index. */
export type Path = readonly string[];

/** One edit of a values file; `undefined` takes the key out. */
export interface Edit {
  readonly path: Path;
  readonly to: unknown;
}

/** Edits a values file as an editor would: comments, order and quotes of the rest stay. */
export async function editValues(folder: string, name: string, edits: readonly Edit[]): Promise<string> {
  const file = join(folder, name);
  const document = parseDocument(await readFile(file, 'utf8'));
  for (const { path, to } of edits) {
    const place = path.map((key, index) => {
      if (index === 0 || path[index - 1] !== 'spokes') return key;
      const spokes = document.toJS() as { fleetConfig: { spokes: { name: string }[] } };
      return spokes.fleetConfig.spokes.findIndex((spoke) => spoke.name === key);
    });
    if (to === undefined) document.deleteIn(place);
    else set(document, place, to);
    const parent = document.getIn(place.slice(0, -1));
    if (isMap(parent) && parent.items.length === 0) document.deleteIn(place.slice(0, -1));
  }
  const text = document.toString({ lineWidth: 0, singleQuote: true });
  await writeFile(file, text, { mode: 0o600 });
  return text;
}

/** A new key goes before `basicAuth`, as the guides write a registry; anything else to the end. */
function set(document: Document, place: readonly (string | number)[], to: unknown): void {
  const node: unknown = isPlain(to) ? document.createNode(to) : to;
  const above = document.getIn(place.slice(0, -1));
  const key = place.at(-1);
  const before = isMap(above) ? above.items.findIndex((pair) => nameOf(pair.key) === 'basicAuth') : -1;
  if (!isMap(above) || before < 0 || above.has(key)) document.setIn(place, node);
  else
    above.items.splice(key === 'endpoint' ? Math.min(1, before) : before, 0, document.createPair(key, node));
}

function nameOf(key: unknown): unknown {
  return isScalar(key) ? key.value : key;
}

function isPlain(value: unknown): boolean {
  return typeof value === 'object' && value !== null;
}

/** The part of a values text below one of its first keys, as a reader finds it in the file. */
export function excerpt(text: string, ...paths: readonly Path[]): string {
  const whole = parse(text) as Record<string, unknown>;
  let shown: Record<string, unknown> = {};
  for (const path of paths) shown = { ...shown, ...pick(whole, path) };
  return stringify(shown, { lineWidth: 0, singleQuote: true });
}

function pick(tree: Record<string, unknown>, [key = '', ...rest]: Path): Record<string, unknown> {
  const below = tree[key];
  if (rest.length === 0 || below === undefined) return { [key]: below };
  return { [key]: pick(below as Record<string, unknown>, rest) };
}

/** Writes the HelmRelease `mural` with the values of a file. */
export async function writeRelease(folder: string, values: string): Promise<string> {
  const release = {
    apiVersion: 'helm.toolkit.fluxcd.io/v2',
    kind: 'HelmRelease',
    metadata: { name: 'mural', namespace: 'mural-system' },
    spec: {
      interval: '10m',
      chartRef: { kind: 'OCIRepository', name: 'mural' },
      values: parse(await readFile(join(folder, values), 'utf8')) as unknown,
    },
  };
  const text = stringify(release, { lineWidth: 0, singleQuote: true });
  await writeFile(join(folder, RELEASE), text, { mode: 0o600 });
  return text;
}
