import {
  defaultValues,
  type Finding,
  formatFinding,
  hasErrors,
  parseValues,
  type Values,
} from '@mural/values';

/** A values document that is valid. */
export interface ValuesDocument {
  /** `undefined` for the defaults. */
  readonly text: string | undefined;
  readonly values: Values;
}

/** What a text came to: a document, or what is wrong with it. */
export type ReadValues =
  | { readonly document: ValuesDocument; readonly findings: readonly Finding[] }
  | { readonly document: undefined; readonly findings: readonly Finding[] };

/** The values where nobody gave any. */
export function defaultDocument(): ValuesDocument {
  return { text: undefined, values: defaultValues() };
}

/**
 * Reads a values document.
 *
 * @param file its name, for the findings
 */
export function readValues(text: string, file: string): ReadValues {
  const { values, findings } = parseValues(text, file);
  if (hasErrors(findings)) return { document: undefined, findings };
  return { document: { text, values }, findings };
}

/** Of a long list, as much as a reader takes in. */
const SHOWN = 20;

/** The errors among findings, a line each: `FILE:LINE:COLUMN: error: …`. */
export function errorLines(findings: readonly Finding[]): string {
  const errors = findings.filter(({ level }) => level === 'error').map(formatFinding);
  const more = errors.length > SHOWN ? [`and ${errors.length - SHOWN} more`] : [];
  return [...errors.slice(0, SHOWN), ...more].join('\n');
}
