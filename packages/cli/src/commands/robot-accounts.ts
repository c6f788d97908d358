import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { formatDuration, systemClock } from '@mural/core';
import {
  openRobots,
  type RegistryPolicy,
  type RobotAccounts,
  type RobotDocument,
  robotDocument,
  type RobotSecret,
} from '@mural/registry';
import { type Context, pathOf } from '../context.ts';
import { CliError } from '../errors.ts';
import { layoutOf } from '../home/layout.ts';
import type { RegistryAdministration } from '../registry-administration.ts';
import { type RegistryTarget, withRunning } from './registry-target.ts';

/** A robot with the secret that was just made for it. */
export interface SecretDocument extends RobotDocument {
  readonly secret: string;
}

/** What a robot is to be. */
export interface WantedRobot {
  readonly name: string;
  readonly policies: readonly RegistryPolicy[];
  readonly description?: string;
  /** How long it is to live, in milliseconds; for ever unless given. */
  readonly lifeMs?: number;
}

/** The robot accounts of a registry that runs, or of a folder, which may belong to one that does. */
export interface Robots {
  create(wanted: WantedRobot): Promise<SecretDocument>;
  list(): Promise<readonly RobotDocument[]>;
  /** @param overlapMs how long the secret until now stays good */
  rotate(name: string, overlapMs: number): Promise<SecretDocument>;
  remove(name: string): Promise<void>;
}

/** @throws CliError `NotFound` where there is no registry: a mistyped folder must not become one */
export async function withRobots<T>(
  target: RegistryTarget,
  context: Context,
  work: (robots: Robots) => Promise<T>,
): Promise<T> {
  const { registry } = target;
  if (registry !== undefined) {
    return await withRunning({ ...target, registry }, context, (running) => work(overTheWire(running)));
  }
  const folder = layoutOf(pathOf(context, target.data)).registry;
  if (!existsSync(join(folder, 'metadata.db'))) {
    throw new CliError('NotFound', `there is no registry in ${target.data}`, {
      hint: 'name its folder with --data, or one that runs with --registry; "mural registry serve" makes one',
    });
  }
  const accounts = openRobots(folder, systemClock);
  try {
    return await work(inFolder(accounts));
  } finally {
    accounts.close();
  }
}

function overTheWire(registry: RegistryAdministration): Robots {
  const pathTo = (name: string): string => `robots/${encodeURIComponent(name)}`;
  return {
    create: async ({ lifeMs, ...wanted }) => {
      const expires = lifeMs === undefined ? {} : { expiresIn: formatDuration(lifeMs) };
      return (await registry.post('robots', { ...wanted, ...expires })) as SecretDocument;
    },
    list: async () => (await registry.list('robots')) as RobotDocument[],
    rotate: async (name, overlapMs) => {
      const overlap = formatDuration(overlapMs);
      return (await registry.post(`${pathTo(name)}/secrets`, { overlap })) as SecretDocument;
    },
    remove: async (name) => {
      await registry.delete(pathTo(name));
    },
  };
}

function inFolder(accounts: RobotAccounts): Robots {
  const told = ({ robot, secret }: RobotSecret): SecretDocument => ({ ...robotDocument(robot), secret });
  return {
    create: async ({ lifeMs, ...wanted }) => {
      const expires = lifeMs === undefined ? {} : { expiresAt: systemClock.now() + lifeMs };
      return told(accounts.create({ ...wanted, ...expires }));
    },
    list: async () => accounts.list().map(robotDocument),
    rotate: async (name, overlapMs) => told(accounts.rotate(name, overlapMs)),
    remove: async (name) => accounts.remove(name),
  };
}
