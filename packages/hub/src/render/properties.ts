import { nearest } from '@mural/core';
import type { z } from 'zod';
import { RenderError } from '../errors.ts';

/**
 * Checks the properties of a component against the schema of its type.
 *
 * @throws RenderError `PropertiesInvalid` naming the component and each property that is wrong; for
 *   an unknown one, the known one that is nearest
 */
export function parseProperties<Shape extends z.ZodRawShape>(
  schema: z.ZodObject<Shape>,
  properties: unknown,
  component: { readonly name: string; readonly type: string },
): z.output<z.ZodObject<Shape>> {
  const result = schema.safeParse(properties ?? {});
  if (result.success) return result.data;
  const known = Object.keys(schema.shape);
  const problems = result.error.issues.flatMap((issue) => describe(issue, known));
  throw new RenderError(
    'PropertiesInvalid',
    `component ${component.name} (${component.type}): ${problems.slice(0, 5).join('; ')}`,
    { facts: { component: component.name, type: component.type } },
  );
}

function describe(issue: z.core.$ZodIssue, known: readonly string[]): string[] {
  const path = ['properties', ...issue.path].map(String).join('.');
  if (issue.code !== 'unrecognized_keys') return [`${path}: ${issue.message}`];
  return issue.keys.map((key) => {
    const near = issue.path.length === 0 ? nearest(key, known) : undefined;
    const known_ = issue.path.length === 0 ? `; known are ${known.join(', ')}` : '';
    return `${path}.${key} does not exist${near === undefined ? known_ : `; did you mean ${near}?`}`;
  });
}
