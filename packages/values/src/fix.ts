import { applyEdits } from './edits.ts';
import type { Finding } from './finding.ts';
import { findAll, plain } from './lint.ts';

/** A file after what is certain was mended. */
export interface FixedValues {
  /** The new text; the old one when nothing was certain. */
  readonly text: string;
  /** What was mended, at its place in the file as it was in that pass. */
  readonly fixed: readonly Finding[];
  /** What the new text still holds. */
  readonly findings: readonly Finding[];
}

/** One change can bring the next to light: a host in lower case turns out to be one of ECR's. */
const MAX_PASSES = 8;

/**
 * Mends what is certain in the text of a values file and touches nothing else: comments, order,
 * quotes and white space stay. Never throws.
 */
export function fixValues(text: string, file: string): FixedValues {
  const fixed: Finding[] = [];
  let current = text;
  let findings = findAll(current, file);
  for (let pass = 0; pass < MAX_PASSES; pass += 1) {
    const edits = findings.flatMap((found) => (found.edit === undefined ? [] : [{ ...found.edit, found }]));
    const { text: next, applied } = applyEdits(current, edits);
    const after = findAll(next, file);
    // A text that cannot be read afterwards would be an error of ours: better leave the file as it is.
    if (applied.length === 0 || after.some(({ rule }) => rule === 'yaml' || rule === 'duplicate-key')) break;
    fixed.push(...applied.map(({ found }) => plain(found)));
    current = next;
    findings = after;
  }
  return { text: current, fixed, findings: findings.map(plain) };
}
