/** One thing that is wrong, or likely wrong, in a file. */
export interface Finding {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** From 1. */
  readonly column: number;
  readonly level: 'error' | 'warning';
  /** What is wrong and what would be right. Never a password. */
  readonly message: string;
  /** Stable name of the rule that found it. */
  readonly rule: string;
  /** What to write instead, where there is one answer. */
  readonly fix?: string;
  /** Whether {@link fixValues} writes it: only what is certain, and can be done without moving anything else. */
  readonly fixable?: boolean;
}

/** `FILE:LINE:COLUMN: level: message (rule)`, the form that editors and CI know how to jump to. */
export function formatFinding(finding: Finding): string {
  const { file, line, column, level, message, rule } = finding;
  return `${file}:${line}:${column}: ${level}: ${message} (${rule})`;
}

/** Whether any of the findings is an error. */
export function hasErrors(findings: readonly Finding[]): boolean {
  return findings.some((finding) => finding.level === 'error');
}
