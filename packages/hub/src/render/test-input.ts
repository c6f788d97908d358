import type { Component } from '@mural/kube';
import { parseAllDocuments } from 'yaml';
import type { RenderInput, Rendering } from './types.ts';

/** Input of a render, as tests of it need it. */
export function input(
  components: readonly (Omit<Component, 'name' | 'properties'> & { name?: string; properties?: unknown })[],
  more: Partial<RenderInput> = {},
): RenderInput {
  return {
    profile: {
      components: components.map((component) => ({ name: 'app', ...component })) as unknown as Component[],
    },
    variables: {
      params: { image: 'nginx:1.27', replicas: 2 },
      environment: { name: 'prod', namespace: 'default', labels: {} },
      spoke: { name: 'eu-1', labels: {} },
      deployment: { name: 'shop', namespace: 'default', labels: {} },
    },
    artifacts: {},
    renderers: {},
    searchPath: process.env['PATH'] ?? '',
    scopes: {},
    deadlineMs: 20_000,
    ...more,
  };
}

/** The objects that a render made. */
export const objectsOf = (rendering: Rendering) =>
  rendering.files.flatMap(
    ({ content }) => parseAllDocuments(content).map((document) => document.toJS() as Record<string, any>), // eslint-disable-line @typescript-eslint/no-explicit-any
  );
/** Input of a component that is the given manifests. */
export const manifests = (text: string, more: object = {}) =>
  input([{ type: 'manifests', properties: { manifests: text }, ...more }]);
/** A ConfigMap as YAML, as far as its data. */
export const map = (name: string, namespace?: string) =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: ${name}\n${namespace === undefined ? '' : `  namespace: ${namespace}\n`}`;
