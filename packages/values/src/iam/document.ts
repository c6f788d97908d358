import { isRecord } from '@mural/core';
import { z } from 'zod';
import { IamError } from './errors.ts';

const Texts = z
  .union([z.string(), z.array(z.string())])
  .transform((value): readonly string[] => (typeof value === 'string' ? [value] : value));
const Principal = z.union([
  z.literal('*').transform((): Readonly<Record<string, readonly string[]>> => ({ '*': ['*'] })),
  z.record(z.string(), Texts),
]);
/** IAM compares text; JSON lets people write numbers and booleans. */
const Scalar = z.union([z.string(), z.number(), z.boolean()]).transform(String);
const Scalars = z
  .union([Scalar, z.array(Scalar)])
  .transform((value): readonly string[] => (typeof value === 'string' ? [value] : value));

const Statement = z.object({
  Effect: z.enum(['Allow', 'Deny']),
  Action: Texts.optional(),
  NotAction: Texts.optional(),
  Resource: Texts.optional(),
  NotResource: Texts.optional(),
  Principal: Principal.optional(),
  NotPrincipal: z.unknown().optional(),
  Condition: z.record(z.string(), z.record(z.string(), Scalars)).optional(),
});
const PolicyDocument = z.object({
  Statement: z.union([Statement.transform((one) => [one]), z.array(Statement)]),
});

/** A statement of somebody's policy, with single values as lists. */
export type ForeignStatement = z.output<typeof Statement> & {
  /** From 1, for messages. */
  readonly number: number;
};

/** One line of a comparison. */
export interface Judgement {
  /** `unclear`: what stands there can be compared by nobody who does not know the request. */
  readonly kind: 'missing' | 'unclear' | 'excess';
  readonly message: string;
}

/** `missing: …`, one line. */
export function formatJudgement({ kind, message }: Judgement): string {
  return `${kind}: ${message}`;
}

const MAX_TEXT = 1024 * 1024;

/**
 * Reads a policy as IAM stores it, or as `aws iam get-role-policy`, `get-policy-version` and
 * `get-role` print it.
 *
 * @throws IamError `PolicyInvalid`
 */
export function readPolicy(text: string, file: string): readonly ForeignStatement[] {
  const refuse = (why: string): never => {
    throw new IamError('PolicyInvalid', `${file} is no IAM policy: ${why}`);
  };
  if (text.length > MAX_TEXT) return refuse('it is larger than 1 MiB');
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return refuse('it is no JSON');
  }
  const parsed = PolicyDocument.safeParse(unwrapped(json));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return refuse(`${issue?.path.map(String).join('.') || 'it'}: ${issue?.message ?? 'not a policy'}`);
  }
  return parsed.data.Statement.map((statement, index) => ({ ...statement, number: index + 1 }));
}

function unwrapped(json: unknown): unknown {
  if (!isRecord(json)) return json;
  if (isRecord(json.PolicyDocument)) return json.PolicyDocument;
  if (isRecord(json.PolicyVersion)) return json.PolicyVersion.Document;
  if (isRecord(json.Role)) return json.Role.AssumeRolePolicyDocument;
  return json;
}

/** What no comparison can tell of a statement: it names what it leaves out. */
export function negations(statements: readonly ForeignStatement[]): readonly Judgement[] {
  return statements.flatMap((statement) =>
    (['NotAction', 'NotResource', 'NotPrincipal'] as const)
      .filter((key) => statement[key] !== undefined)
      .map((key) => ({
        kind: 'unclear' as const,
        message: `statement ${statement.number}: cannot judge ${key}; write ${key.slice('Not'.length)}`,
      })),
  );
}

/** Whether a statement names what it leaves out, and is not compared for that. */
export function isNegated(statement: ForeignStatement): boolean {
  return negations([statement]).length > 0;
}

/** Whether IAM's pattern, with `*` and `?`, matches the text. Linear in the length of both. */
export function matches(pattern: string, text: string): boolean {
  let at = 0;
  let position = 0;
  let star = -1;
  let retry = 0;
  while (position < text.length) {
    if (pattern[at] === '*') {
      star = at;
      at += 1;
      retry = position;
    } else if (pattern[at] === '?' || (at < pattern.length && pattern[at] === text[position])) {
      at += 1;
      position += 1;
    } else if (star >= 0) {
      retry += 1;
      position = retry;
      at = star + 1;
    } else return false;
  }
  while (pattern[at] === '*') at += 1;
  return at === pattern.length;
}

/** Whether a text holds IAM's wildcards. */
export function isPattern(text: string): boolean {
  return /[*?]/.test(text);
}

/** Whether a statement speaks of an action; IAM looks at no case there. */
export function namesAction(statement: ForeignStatement, action: string): boolean {
  return (statement.Action ?? []).some((pattern) => matches(pattern.toLowerCase(), action.toLowerCase()));
}

/** The lines without repetition: what is missing first, then what is unclear, then what is too much. */
export function inOrder(judgements: readonly Judgement[]): readonly Judgement[] {
  const unique = new Map(judgements.map((judgement) => [formatJudgement(judgement), judgement]));
  return (['missing', 'unclear', 'excess'] as const).flatMap((kind) =>
    [...unique.values()].filter((judgement) => judgement.kind === kind),
  );
}
