import { type Found, readDocument } from './document.ts';
import type { Finding } from './finding.ts';
import { RULES } from './rules.ts';

/** Of one rule: nobody reads more, and a file made to be slow is not. */
const MAX_FINDINGS = 500;

/** Everything that is wrong in the text of a values file, in the order of the file. Never throws. */
export function lintValues(text: string, file: string): readonly Finding[] {
  return findAll(text, file).map(plain);
}

/** The same with the change that would mend each finding, where one is certain. */
export function findAll(text: string, file: string): readonly Found[] {
  const { document, findings } = readDocument(text, file);
  if (document === undefined) return findings.slice(0, MAX_FINDINGS);
  const found = RULES.flatMap((rule) => firstOf(rule.check(document)));
  return found.sort((a, b) => a.line - b.line || a.column - b.column);
}

/** A finding without the change of the text, which may hold what must not be shown. */
export function plain({ edit: _edit, ...finding }: Found): Finding {
  return finding;
}

function firstOf(findings: Iterable<Found>): readonly Found[] {
  const first: Found[] = [];
  for (const found of findings) {
    first.push(found);
    if (first.length === MAX_FINDINGS) break;
  }
  return first;
}
