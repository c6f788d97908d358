import {
  checkPermissionPolicy,
  checkTrustPolicy,
  formatJudgement,
  type Judgement,
  permissionPolicy,
  rolesOf,
  spokesWithoutIssuer,
  trustPolicy,
  type TrustOptions,
  type Values,
} from '@mural/values';
import { type Context, readUserFile } from '../context.ts';
import type { PolicyOptions, TrustPolicyOptions } from './ecr.ts';
import { readValuesFile } from './values-actions.ts';

/** Prints the policy for the identity that pushes, pulls, or does both; or compares one with it. */
export async function runPolicy(options: PolicyOptions, context: Context): Promise<void> {
  const values = await readValuesFile(context, options.values);
  const needed = permissionPolicy(values, { role: options.role, account: options.account });
  await printOrCheck(needed, {
    options,
    context,
    check: (text, file) => checkPermissionPolicy(needed, text, file),
  });
}

/** Prints the trust policy of the role, or compares one with it. */
export async function runTrustPolicy(options: TrustPolicyOptions, context: Context): Promise<void> {
  const values = await readValuesFile(context, options.values);
  const names: TrustOptions = {
    hubIssuer: options.hubIssuer,
    spokeIssuers: options.spokeIssuer ?? {},
    namespace: options.namespace,
    spokeNamespaces: options.spokeNamespace ?? {},
    role: options.role,
    account: options.account,
  };
  const needed = trustPolicy(values, names);
  for (const note of notesOn(values, names)) context.err(`note: ${note}\n`);
  await printOrCheck(needed, {
    options,
    context,
    check: (text, file) => checkTrustPolicy(needed, text, file),
  });
}

/** What the reader should know of the document, which itself holds JSON and nothing else. */
function notesOn(values: Values, names: TrustOptions): readonly string[] {
  const notes: string[] = [];
  const { hue, sourceController } = rolesOf(values);
  if (
    names.role === 'push-and-pull' &&
    hue !== undefined &&
    sourceController !== undefined &&
    hue !== sourceController
  ) {
    notes.push(
      `the values name two roles: print the policy of ${hue} with --role push, that of ${sourceController} with --role pull`,
    );
  }
  const without = names.role === 'push' ? [] : spokesWithoutIssuer(values, names);
  if (without.length > 0) {
    notes.push(`taken to run in the hub's cluster, for want of a --spoke-issuer: ${without.join(', ')}`);
  }
  return notes;
}

async function printOrCheck(
  needed: unknown,
  how: {
    readonly options: PolicyOptions;
    readonly context: Context;
    readonly check: (text: string, file: string) => readonly Judgement[];
  },
): Promise<void> {
  const { context } = how;
  const file = how.options.check;
  if (file === undefined) {
    context.out(`${JSON.stringify(needed, null, 2)}\n`);
    return;
  }
  const judgements = how.check(await readUserFile(context, file), file);
  for (const judgement of judgements) context.out(`${formatJudgement(judgement)}\n`);
  if (judgements.some(({ kind }) => kind !== 'excess')) context.exitWith(1);
}
