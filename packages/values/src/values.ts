import { readDocument } from './document.ts';
import { type Finding, hasErrors } from './finding.ts';
import { lintValues } from './lint.ts';
import { Values } from './schema.ts';

/** What a file says, and what is wrong with it. */
export interface ParsedValues {
  /** The values with defaults filled in; the defaults alone when a finding is an error. */
  readonly values: Values;
  readonly findings: readonly Finding[];
}

/**
 * Reads a values file.
 *
 * @param file its name, for the findings
 */
export function parseValues(text: string, file: string): ParsedValues {
  const findings = lintValues(text, file);
  const { document } = readDocument(text, file);
  if (document === undefined || hasErrors(findings)) return { values: defaultValues(), findings };
  return { values: Values.parse(document.data), findings };
}

/** The values of an empty file. */
export function defaultValues(): Values {
  return Values.parse({});
}
