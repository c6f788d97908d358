/**
 * Replays what a real kube-apiserver 1.36.3 was asked and what it answered. Every step starts from
 * the object that the real server had.
 */
import { readFileSync } from 'node:fs';
import { canonicalJson, isRecord } from '@mural/core';
import { describe, expect, it } from 'vitest';
import { jsonPatch, mergePatch, strategicMergePatch } from '../patch/index.ts';
import {
  applyDefaults,
  builtinDefaults,
  builtinSchemas,
  compileCrdSchema,
  prune,
  type TypeSchema,
} from '../schema/index.ts';
import { type ObjectFields, serverSideApply, trackUpdate } from './index.ts';
import { omit } from '../schema/types.ts';
import { RECORDED_SCHEMA } from './testing-schema.ts';

interface Step {
  readonly op: 'apply' | 'create' | 'update' | 'merge' | 'strategic' | 'json';
  readonly manager?: string;
  readonly force?: boolean;
  readonly sub?: string;
  readonly ignore?: readonly string[];
  readonly body: ObjectFields;
  readonly result?: ObjectFields;
  readonly error?: string;
}

const recordings = JSON.parse(
  readFileSync(new URL('generated/recordings.json', import.meta.url), 'utf8'),
) as Record<string, Step[]>;

const custom = compileCrdSchema(RECORDED_SCHEMA);
const NOW = Date.parse('2030-01-01T00:00:00Z');

function schemaOf(object: ObjectFields): TypeSchema {
  const { apiVersion, kind } = object;
  const schema = kind === 'Foo' ? custom : builtinSchemas().schemaFor(String(apiVersion), String(kind));
  if (schema === undefined) throw new Error(`no schema for ${String(kind)}`);
  return schema;
}

/** Kinds whose status cannot be written through the main resource. */
function hasStatus(kind: unknown): boolean {
  return kind === 'Deployment' || kind === 'Ingress';
}

function run(step: Step, live: ObjectFields | undefined, first: ObjectFields): ObjectFields {
  const schema = schemaOf(first);
  const normal = (object: ObjectFields): ObjectFields =>
    schema === custom ? applyDefaults(prune(object, schema), schema) : builtinDefaults(object);
  const common = { manager: step.manager ?? 'tester', schema, subresource: step.sub, now: NOW };
  if (step.op === 'apply') {
    const { object } = serverSideApply({
      ...common,
      live,
      applied: step.body,
      force: step.force === true,
      ignore: step.ignore,
    });
    return normal(object);
  }
  return trackUpdate({
    ...common,
    before: live,
    after: normal(changed(step, live, schema)),
    ignore: step.ignore ?? (hasStatus(first['kind']) ? ['status'] : []),
    apiVersion: String(first['apiVersion']),
  });
}

function changed(step: Step, live: ObjectFields | undefined, schema: TypeSchema): ObjectFields {
  switch (step.op) {
    case 'merge':
      return mergePatch(live, step.body) as ObjectFields;
    case 'strategic':
      return strategicMergePatch(live, step.body, schema) as ObjectFields;
    case 'json':
      return jsonPatch(live, step.body) as ObjectFields;
    default:
      return step.body;
  }
}

/** Without times and what the server adds to every object. */
function comparable(object: ObjectFields): unknown {
  const metadata = isRecord(object['metadata']) ? object['metadata'] : {};
  const entries = Array.isArray(metadata['managedFields'])
    ? (metadata['managedFields'] as ObjectFields[])
    : [];
  const managedFields = entries
    .map((entry) => omit(entry, 'time'))
    .sort((a, b) => (canonicalJson(a) < canonicalJson(b) ? -1 : 1));
  return {
    ...object,
    metadata: {
      ...metadata,
      namespace: 't',
      managedFields: managedFields.length > 0 ? managedFields : undefined,
    },
  };
}

describe.each(Object.entries(recordings))('%s', (_name, steps) => {
  const first = steps[0]?.body ?? {};
  let live: ObjectFields | undefined;
  const cases = steps.map((step, index) => {
    const before = live;
    live = step.result ?? live;
    return { step, before, title: `${index}: ${step.op} by ${step.manager ?? 'tester'}` };
  });
  it.each(cases)('$title', ({ step, before }) => {
    if (step.error !== undefined) {
      expect(() => run(step, before, first)).toThrow(step.error);
    } else {
      expect(comparable(run(step, before, first))).toEqual(comparable(step.result ?? {}));
    }
  });
});
