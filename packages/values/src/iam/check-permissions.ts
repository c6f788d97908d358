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
import type { Policy } from './permissions.ts';

interface Permission {
  readonly action: string;
  readonly resource: string;
}

/**
 * Compares a policy that somebody has with what is needed: what it lacks, what it allows beyond, and
 * what cannot be told. Boundaries and policies of the registry are not in the file and not looked at.
 *
 * @param text the JSON of the policy
 * @throws IamError `PolicyInvalid`
 */
export function checkPermissionPolicy(needed: Policy, text: string, file: string): readonly Judgement[] {
  const statements = readPolicy(text, file);
  const judged = statements.filter((statement) => !isNegated(statement));
  const permissions = needed.Statement.flatMap(({ Action, Resource }) =>
    [Action].flat().flatMap((action) => [Resource].flat().map((resource) => ({ action, resource }))),
  );
  return inOrder([
    ...permissions.flatMap((permission) => judge(judged, permission)),
    ...negations(statements),
    ...judged
      .filter(({ Effect }) => Effect === 'Allow')
      .flatMap((statement) => excessOf(statement, permissions)),
  ]);
}

function judge(statements: readonly ForeignStatement[], permission: Permission): readonly Judgement[] {
  const { action, resource } = permission;
  const what = `${action} on ${resource}`;
  const about = statements.filter(
    (statement) => namesAction(statement, action) && coversResource(statement, resource),
  );
  const denied = about.find(({ Effect, Condition }) => Effect === 'Deny' && Condition === undefined);
  if (denied !== undefined)
    return [{ kind: 'missing', message: `${what}: statement ${denied.number} denies it` }];
  const unclear = about
    .filter(({ Effect, Condition }) => Effect === 'Deny' && Condition !== undefined)
    .map(
      ({ number }): Judgement => ({
        kind: 'unclear',
        message: `${what}: statement ${number} denies it under a Condition`,
      }),
    );
  const allowing = about.filter(({ Effect }) => Effect === 'Allow');
  if (allowing.some(({ Condition }) => Condition === undefined)) return unclear;
  const [conditional] = allowing;
  if (conditional !== undefined) {
    const message = `${what}: statement ${conditional.number} allows it only under a Condition`;
    return [...unclear, { kind: 'unclear', message }];
  }
  const elsewhere = statements.find(
    (statement) =>
      statement.Effect === 'Allow' && namesAction(statement, action) && statement.Resource !== undefined,
  );
  const why =
    elsewhere === undefined
      ? 'no statement allows it'
      : `statement ${elsewhere.number} allows it on ${(elsewhere.Resource ?? []).join(', ')} alone`;
  return [...unclear, { kind: 'missing', message: `${what}: ${why}` }];
}

function coversResource(statement: ForeignStatement, resource: string): boolean {
  return (statement.Resource ?? []).some((pattern) => {
    // IAM fills a variable in at the time of the request.
    if (pattern.includes('${')) return false;
    // Actions without a resource of their own are allowed on * alone.
    return resource === '*' ? /^\*+$/.test(pattern) : matches(pattern, resource);
  });
}

function excessOf(statement: ForeignStatement, needed: readonly Permission[]): readonly Judgement[] {
  const excess = (message: string): Judgement => ({
    kind: 'excess',
    message: `statement ${statement.number}: ${message}`,
  });
  const actions = statement.Action ?? [];
  const used = needed.filter(({ action }) => namesAction(statement, action));
  const resources = new Set(used.map(({ resource }) => resource));
  const ofRepositories = used.some(({ resource }) => resource !== '*');
  return [
    ...actions.flatMap((pattern) => {
      if (isPattern(pattern))
        return [
          excess(`${pattern} allows every action of that pattern, and ${countOf(used, pattern)} needed`),
        ];
      const same = needed.some(({ action }) => action.toLowerCase() === pattern.toLowerCase());
      return same ? [] : [excess(`${pattern} is not needed`)];
    }),
    ...(used.length === 0 ? [] : (statement.Resource ?? [])).flatMap((pattern) => {
      if (resources.has(pattern) && !(pattern === '*' && ofRepositories)) return [];
      if (pattern.includes('${')) {
        return [
          {
            kind: 'unclear' as const,
            message: `statement ${statement.number}: cannot judge the variable in ${pattern}`,
          },
        ];
      }
      return [
        excess(
          isPattern(pattern)
            ? `${pattern} covers more than the repositories that are needed`
            : `${pattern} is not needed`,
        ),
      ];
    }),
  ];
}

function countOf(used: readonly Permission[], pattern: string): string {
  const actions = new Set(
    used.map(({ action }) => action).filter((action) => matches(pattern.toLowerCase(), action.toLowerCase())),
  );
  if (actions.size === 0) return 'none of them is';
  return `only ${[...actions].join(', ')} ${actions.size === 1 ? 'is' : 'are'}`;
}
