import {
  type ForeignStatement,
  inOrder,
  isNegated,
  isPattern,
  type Judgement,
  matches,
  namesAction,
  negations,
  readPolicy,
} from './document.ts';
import type { TrustPolicy } from './trust.ts';

const ACTION = 'sts:AssumeRoleWithWebIdentity';

/** One issuer of what is needed. */
interface Needed {
  readonly provider: string;
  readonly issuer: string;
  readonly subjects: readonly string[];
  readonly audience: string;
}

/** One line of a Condition block. */
interface ConditionLine {
  readonly operator: string;
  readonly key: string;
  readonly values: readonly string[];
}

/**
 * Compares the trust policy of a role with what is needed: service accounts that it does not let in,
 * what it lets in beyond, and what cannot be told.
 *
 * @param text the JSON of the policy
 * @throws IamError `PolicyInvalid`
 */
export function checkTrustPolicy(needed: TrustPolicy, text: string, file: string): readonly Judgement[] {
  const statements = readPolicy(text, file);
  const judged = statements.filter((statement) => !isNegated(statement));
  const issuers = needed.Statement.map(readNeeded);
  return inOrder([
    ...issuers.flatMap((issuer) => issuer.subjects.flatMap((subject) => judge(judged, issuer, subject))),
    ...negations(statements),
    ...judged.filter(({ Effect }) => Effect === 'Allow').flatMap((statement) => excessOf(statement, issuers)),
  ]);
}

function readNeeded({ Principal, Condition }: TrustPolicy['Statement'][number]): Needed {
  const provider = Principal.Federated;
  const issuer = provider.slice(provider.indexOf('/') + 1);
  return {
    provider,
    issuer,
    subjects: [Condition.StringEquals[`${issuer}:sub`] ?? []].flat(),
    audience: [Condition.StringEquals[`${issuer}:aud`] ?? []].flat()[0] ?? '',
  };
}

type Verdict = 'yes' | 'no' | 'unclear';

function judge(
  statements: readonly ForeignStatement[],
  needed: Needed,
  subject: string,
): readonly Judgement[] {
  const what = `${subject} of ${needed.issuer}`;
  const about = statements.filter(
    (statement) =>
      namesAction(statement, ACTION) &&
      providersOf(statement).some((name) => name === '*' || name === needed.provider),
  );
  const verdicts = about.map((statement) => ({ statement, verdict: verdictOf(statement, needed, subject) }));
  const denied = verdicts.find(({ statement, verdict }) => statement.Effect === 'Deny' && verdict !== 'no');
  if (denied !== undefined) {
    const kind = denied.verdict === 'yes' ? 'missing' : 'unclear';
    return [{ kind, message: `${what}: statement ${denied.statement.number} denies it` }];
  }
  const allowing = verdicts.filter(({ statement }) => statement.Effect === 'Allow');
  if (allowing.some(({ verdict }) => verdict === 'yes')) return [];
  const maybe = allowing.find(({ verdict }) => verdict === 'unclear');
  if (maybe !== undefined) {
    const message = `${what}: cannot judge the Condition of statement ${maybe.statement.number}`;
    return [{ kind: 'unclear', message }];
  }
  const [statement] = allowing;
  const why =
    statement === undefined
      ? `no statement lets ${needed.provider} assume the role`
      : `the Condition of statement ${statement.statement.number} keeps it out (${refusing(statement.statement.Condition, needed, subject)})`;
  return [{ kind: 'missing', message: `${what}: ${why}` }];
}

/** All lines of a condition must hold. */
function verdictOf(statement: ForeignStatement, needed: Needed, subject: string): Verdict {
  const verdicts = linesOf(statement.Condition).map((line) => holds(line, needed, subject));
  if (verdicts.includes('no')) return 'no';
  return verdicts.includes('unclear') ? 'unclear' : 'yes';
}

function holds({ operator, key, values }: ConditionLine, needed: Needed, subject: string): Verdict {
  // Names of condition keys have no case; their values do.
  const prefix = `${needed.issuer.toLowerCase()}:`;
  const name = key.toLowerCase();
  if (!name.startsWith(prefix)) return 'unclear';
  const actual = name === `${prefix}sub` ? subject : name === `${prefix}aud` ? needed.audience : undefined;
  if (actual === undefined) return 'unclear';
  const plain = operator.replace(/^ForAnyValue:/i, '').toLowerCase();
  if (plain === 'stringequals') return values.includes(actual) ? 'yes' : 'no';
  if (plain === 'stringlike') return values.some((value) => matches(value, actual)) ? 'yes' : 'no';
  return 'unclear';
}

function refusing(condition: ForeignStatement['Condition'], needed: Needed, subject: string): string {
  const line = linesOf(condition).find((one) => holds(one, needed, subject) === 'no');
  return line === undefined ? '' : `${line.operator} ${line.key}`;
}

function linesOf(condition: ForeignStatement['Condition']): readonly ConditionLine[] {
  return Object.entries(condition ?? {}).flatMap(([operator, keys]) =>
    Object.entries(keys).map(([key, values]) => ({ operator, key, values })),
  );
}

function providersOf(statement: ForeignStatement): readonly string[] {
  const principal = statement.Principal ?? {};
  return [...(principal.Federated ?? []), ...(principal['*'] ?? [])];
}

function excessOf(statement: ForeignStatement, issuers: readonly Needed[]): readonly Judgement[] {
  const excess = (message: string): Judgement => ({
    kind: 'excess',
    message: `statement ${statement.number}: ${message}`,
  });
  const actions = (statement.Action ?? []).flatMap((action) =>
    action.toLowerCase() === ACTION.toLowerCase() ? [] : [excess(`${action} is not needed`)],
  );
  const principals = Object.entries(statement.Principal ?? {}).flatMap(([kind, names]) =>
    names
      .filter((name) => kind !== 'Federated' || !issuers.some(({ provider }) => provider === name))
      .map((name) => excess(`the principal ${kind === '*' ? '*' : `${kind} ${name}`} is not needed`)),
  );
  const mine = issuers.filter(({ provider }) =>
    providersOf(statement).some((name) => name === '*' || name === provider),
  );
  const federated = namesAction(statement, ACTION)
    ? mine.flatMap((needed) => excessOfIssuer(statement, needed).map(excess))
    : [];
  return [...actions, ...principals, ...federated];
}

/** What the conditions on one issuer let in beyond what is needed. */
function excessOfIssuer(statement: ForeignStatement, needed: Needed): readonly string[] {
  const lines = linesOf(statement.Condition);
  const of = (claim: string) =>
    lines.filter(({ key }) => key.toLowerCase() === `${needed.issuer.toLowerCase()}:${claim}`);
  const messages: string[] = [];
  if (of('aud').length === 0) {
    messages.push(
      `no condition on ${needed.issuer}:aud; add StringEquals ${needed.audience}, or tokens for other audiences work too`,
    );
  }
  if (of('sub').length === 0) {
    messages.push(
      `no condition on ${needed.issuer}:sub, so every service account of the cluster may assume the role`,
    );
  }
  for (const { operator, values } of of('sub')) {
    const like = /StringLike$/i.test(operator);
    for (const value of values) {
      if (like && isPattern(value))
        messages.push(`${value} lets in more than ${needed.subjects.join(' and ')}`);
      else if (!needed.subjects.includes(value)) messages.push(`${value} is not needed`);
    }
  }
  for (const { values } of of('aud')) {
    const others = values.filter((value) => value !== needed.audience);
    messages.push(...others.map((value) => `the audience ${value} is not needed`));
  }
  return messages;
}
