import { type Command, InvalidArgumentError } from 'commander';
import type { Context } from '../context.ts';
import { durationOption } from '../options.ts';
import { addRegistryTarget, formatOption, type RegistryTarget } from './registry-target.ts';

const FOLDER = 'folder of a registry on this machine, which may be serving';

/** What a robot may do with the repositories of a pattern, as it stands on the command line. */
export interface Allowed {
  readonly repositories: string;
  readonly actions: readonly string[];
}

/** Options of `mural registry robot …`. */
export interface RobotOptions extends RegistryTarget {
  readonly allow?: readonly Allowed[];
  readonly description?: string;
  /** In milliseconds. */
  readonly expires?: number;
  /** In milliseconds. */
  readonly overlap?: number;
  readonly output: 'text' | 'json';
}

/** `mural registry robot create|list|rotate|remove`. */
export function addRobot(registry: Command, context: Context): void {
  const robot = registry.command('robot').description('accounts with generated secrets, for machines');
  const verb = (name: string, description: string): Command =>
    addRegistryTarget(robot.command(name).description(description), FOLDER);
  verb('create', 'make an account; its secret is printed once')
    .argument('<name>', 'it signs in as robot+<name>')
    .requiredOption(
      '--allow <pattern=actions>',
      "such as 'team/**=read,create': actions are read, create, update, delete; may be repeated",
      allowOption,
    )
    .option('--expires <duration>', 'ends after this long, such as 720h; never unless given', durationOption)
    .option('--description <text>', 'what it is for')
    .addOption(formatOption())
    .action(async (name: string, options: RobotOptions) => {
      const { createRobot } = await actions();
      await createRobot(name, options, context);
    });
  verb('list', 'list the accounts')
    .addOption(formatOption())
    .action(async (options: RobotOptions) => {
      const { listRobots } = await actions();
      await listRobots(options, context);
    });
  verb('rotate', 'make another secret for an account; it is printed once')
    .argument('<name>', 'of the account')
    .option('--overlap <duration>', 'how long the secret until now stays good', durationOption, 3_600_000)
    .addOption(formatOption())
    .action(async (name: string, options: RobotOptions) => {
      const { rotateRobot } = await actions();
      await rotateRobot(name, options, context);
    });
  verb('remove', 'end an account')
    .argument('<name>', 'of the account')
    .action(async (name: string, options: RobotOptions) => {
      const { removeRobot } = await actions();
      await removeRobot(name, options, context);
    });
}

function allowOption(text: string, before: readonly Allowed[] = []): readonly Allowed[] {
  const equals = text.indexOf('=');
  const list = text.slice(equals + 1);
  if (equals <= 0 || list === '') throw new InvalidArgumentError("It must be like 'team/**=read,create'.");
  return [...before, { repositories: text.slice(0, equals), actions: list.split(',') }];
}

async function actions() {
  return import('./robot-actions.ts');
}
