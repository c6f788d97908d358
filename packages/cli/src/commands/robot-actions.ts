import { formatDuration, systemClock } from '@mural/core';
import type { RegistryPolicy, RobotDocument } from '@mural/registry';
import type { Context } from '../context.ts';
import { formatTable } from '../table.ts';
import type { RobotOptions } from './robot.ts';
import { type SecretDocument, withRobots } from './robot-accounts.ts';

/** Makes an account and prints its secret. */
export async function createRobot(name: string, options: RobotOptions, context: Context): Promise<void> {
  const { allow = [], description, expires } = options;
  const created = await withRobots(options, context, (robots) =>
    robots.create({
      name,
      // The registry checks the actions and says which there are.
      policies: allow as readonly RegistryPolicy[],
      ...(description === undefined ? {} : { description }),
      ...(expires === undefined ? {} : { lifeMs: expires }),
    }),
  );
  printSecret(created, options, context);
}

/** Prints the accounts. */
export async function listRobots(options: RobotOptions, context: Context): Promise<void> {
  const robots = await withRobots(options, context, (accounts) => accounts.list());
  if (options.output === 'json') {
    context.out(`${JSON.stringify(robots, null, 2)}\n`);
    return;
  }
  if (robots.length === 0) {
    context.err('There are no robots.\n');
    return;
  }
  const now = systemClock.now();
  const rows = robots.map((robot) => [
    robot.name,
    robot.username,
    robot.policies.map(({ repositories, actions }) => `${repositories}=${actions.join(',')}`).join(' '),
    whenEnds(robot, now),
    robot.rotatedAt,
    robot.previousSecretUntil ?? '-',
  ]);
  context.out(formatTable(['NAME', 'USERNAME', 'ALLOWED', 'EXPIRES', 'ROTATED', 'OLD SECRET UNTIL'], rows));
}

/** Makes another secret for an account and prints it. */
export async function rotateRobot(name: string, options: RobotOptions, context: Context): Promise<void> {
  const { overlap = 0 } = options;
  const rotated = await withRobots(options, context, (robots) => robots.rotate(name, overlap));
  printSecret(rotated, options, context);
  if (overlap > 0) context.err(`The secret until now stays good for ${formatDuration(overlap)}.\n`);
}

/** Ends an account. */
export async function removeRobot(name: string, options: RobotOptions, context: Context): Promise<void> {
  await withRobots(options, context, (robots) => robots.remove(name));
  context.err(`The robot ${name} is gone.\n`);
}

/** The secret goes to the standard output and nowhere else, so that it can be piped on. */
function printSecret(robot: SecretDocument, { output }: RobotOptions, context: Context): void {
  if (output === 'json') context.out(`${JSON.stringify(robot, null, 2)}\n`);
  else context.out(`${robot.secret}\n`);
  context.err(`${robot.username} signs in with this secret, which is not shown again.\n`);
}

function whenEnds({ expiresAt }: RobotDocument, now: number): string {
  if (expiresAt === undefined) return 'never';
  return Date.parse(expiresAt) <= now ? `expired ${expiresAt}` : expiresAt;
}
