import { realpath, stat } from 'node:fs/promises';
import { errorMessage, writeFileAtomic } from '@mural/core';
import {
  type Finding,
  fixValues,
  formatFinding,
  hasErrors,
  lintValues,
  parseValues,
  type Values,
} from '@mural/values';
import { type Context, pathOf, readUserFile } from '../context.ts';
import { CliError } from '../errors.ts';
import type { LintOptions } from './values.ts';

/** Checks a file, and mends it first where it is told to. */
export async function lint(file: string, options: LintOptions, context: Context): Promise<void> {
  const text = await readUserFile(context, file);
  if (options.fix !== true) {
    report(lintValues(text, file), [], { options, context });
    return;
  }
  const { text: mended, fixed, findings } = fixValues(text, file);
  if (mended !== text) await rewrite(context, file, mended);
  report(findings, fixed, { options, context });
}

/**
 * Reads a values file that a command works from; what is wrong with it goes to stderr.
 *
 * @throws CliError `FileUnreadable`, `ValuesInvalid`
 */
export async function readValuesFile(context: Context, file: string): Promise<Values> {
  const { values, findings } = parseValues(await readUserFile(context, file), file);
  for (const finding of findings) context.err(`${formatFinding(finding)}\n`);
  if (hasErrors(findings)) {
    throw new CliError('ValuesInvalid', `${file} is not valid`, {
      hint: `"mural values lint ${file}" checks it again, and with --fix mends what is certain`,
    });
  }
  return values;
}

/** Puts the new text in the place of the old, with its permissions: the file may hold a password. */
async function rewrite(context: Context, file: string, text: string): Promise<void> {
  try {
    const path = await realpath(pathOf(context, file));
    const { mode } = await stat(path);
    await writeFileAtomic(path, text, { mode: mode & 0o777 });
  } catch (error) {
    throw new CliError('FileUnreadable', `cannot write ${file}: ${errorMessage(error)}`, { cause: error });
  }
}

function report(
  findings: readonly Finding[],
  fixed: readonly Finding[],
  { options, context }: { readonly options: LintOptions; readonly context: Context },
): void {
  if (options.format === 'json') {
    const all = [...fixed.map((finding) => ({ ...finding, fixed: true })), ...findings];
    context.out(`${JSON.stringify(all, null, 2)}\n`);
  } else {
    for (const { file, line, column, message, rule } of fixed) {
      context.out(`${file}:${line}:${column}: fixed: ${message} (${rule})\n`);
    }
    for (const finding of findings) context.out(`${formatFinding(finding)}\n`);
    const left = findings.filter(({ fixable }) => fixable === true).length;
    if (left > 0) context.err(`${left} of them would be mended by "mural values lint --fix"\n`);
  }
  if (hasErrors(findings)) context.exitWith(1);
}
