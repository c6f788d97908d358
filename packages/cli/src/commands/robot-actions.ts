import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { formatDuration, rfc3339, systemClock } from '@mural/core';
import {
  openRobots,
  type RegistryPolicy,
  type Robot,
  type RobotAccounts,
  type RobotSecret,
} from '@mural/registry';
import { type Context, pathOf } from '../context.ts';
import { CliError } from '../errors.ts';
import { layoutOf } from '../home/layout.ts';
import { formatTable } from '../table.ts';
import type { RobotOptions } from './robot.ts';

/** Makes an account and prints its secret. */
export async function createRobot(name: string, options: RobotOptions, context: Context): Promise<void> {
  const { allow = [], description, expires } = options;
  const created = withRobots(options, context, (robots) =>
    robots.create({
      name,
      // The registry checks the actions and says which there are.
      policies: allow as readonly RegistryPolicy[],
      ...(description === undefined ? {} : { description }),
      ...(expires === undefined ? {} : { expiresAt: systemClock.now() + expires }),
    }),
  );
  printSecret(created, options, context);
}

/** Prints the accounts. */
export async function listRobots(options: RobotOptions, context: Context): Promise<void> {
  const robots = withRobots(options, context, (accounts) => accounts.list());
  if (options.output === 'json') {
    context.out(`${JSON.stringify(robots.map(described), null, 2)}\n`);
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
    rfc3339(robot.rotatedAt),
    robot.previousSecretUntil === undefined ? '-' : rfc3339(robot.previousSecretUntil),
  ]);
  context.out(formatTable(['NAME', 'USERNAME', 'ALLOWED', 'EXPIRES', 'ROTATED', 'OLD SECRET UNTIL'], rows));
}

/** Makes another secret for an account and prints it. */
export async function rotateRobot(name: string, options: RobotOptions, context: Context): Promise<void> {
  const { overlap = 0 } = options;
  const rotated = withRobots(options, context, (robots) => robots.rotate(name, overlap));
  printSecret(rotated, options, context);
  if (overlap > 0) context.err(`The secret until now stays good for ${formatDuration(overlap)}.\n`);
}

/** Ends an account. */
export async function removeRobot(name: string, options: RobotOptions, context: Context): Promise<void> {
  withRobots(options, context, (robots) => robots.remove(name));
  context.err(`The robot ${name} is gone.\n`);
}

/** The secret goes to the standard output and nowhere else, so that it can be piped on. */
function printSecret(
  { robot, username, secret }: RobotSecret,
  { output }: RobotOptions,
  context: Context,
): void {
  if (output === 'json') {
    context.out(`${JSON.stringify({ ...described(robot), secret }, null, 2)}\n`);
  } else {
    context.out(`${secret}\n`);
  }
  context.err(`${username} signs in with this secret, which is not shown again.\n`);
}

function described(robot: Robot): object {
  const { createdAt, rotatedAt, expiresAt, previousSecretUntil, ...rest } = robot;
  return {
    ...rest,
    createdAt: rfc3339(createdAt),
    rotatedAt: rfc3339(rotatedAt),
    ...(expiresAt === undefined ? {} : { expiresAt: rfc3339(expiresAt) }),
    ...(previousSecretUntil === undefined ? {} : { previousSecretUntil: rfc3339(previousSecretUntil) }),
  };
}

function whenEnds({ expiresAt }: Robot, now: number): string {
  if (expiresAt === undefined) return 'never';
  return expiresAt <= now ? `expired ${rfc3339(expiresAt)}` : rfc3339(expiresAt);
}

/** @throws CliError `NotFound` where there is no registry: a mistyped folder must not become one */
function withRobots<T>(options: RobotOptions, context: Context, work: (robots: RobotAccounts) => T): T {
  const { registry } = layoutOf(pathOf(context, options.data));
  if (!existsSync(join(registry, 'metadata.db'))) {
    throw new CliError('NotFound', `there is no registry in ${options.data}`, {
      hint: 'name its folder with --data; "mural registry serve" makes one',
    });
  }
  const robots = openRobots(registry, systemClock);
  try {
    return work(robots);
  } finally {
    robots.close();
  }
}
