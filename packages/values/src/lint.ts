import { type Found, readDocument } from './document.ts';
import type { Finding } from './finding.ts';
import { RULES } from './rules.ts';

/** Everything that is wrong in the text of a values file, in the order of the file. Never throws. */
export function lintValues(text: string, file: string): readonly Finding[] {
  return findAll(text, file).map(plain);
}

/** The same with the change that would mend each finding, where one is certain. */
export function findAll(text: string, file: string): readonly Found[] {
  const { document, findings } = readDocument(text, file);
  if (document === undefined) return findings;
  const found = RULES.flatMap((rule) => [...rule.check(document)]);
  return found.sort((a, b) => a.line - b.line || a.column - b.column);
}

/** A finding without the change of the text, which may hold what must not be shown. */
export function plain({ edit: _edit, ...finding }: Found): Finding {
  return finding;
}
