import { type Command, Option } from 'commander';
import type { Context } from '../context.ts';
import { pairsOption } from '../options.ts';

/** The options that every command on artifacts takes. */
export interface AccessOptions {
  readonly creds?: string;
  readonly insecureRegistry?: boolean;
  readonly ca?: string;
}

/** How results are printed. */
export type Output = 'text' | 'json' | 'yaml';

/** Options of `mural push artifact`. */
export interface PushOptions extends AccessOptions {
  readonly path: string;
  readonly source?: string;
  readonly revision?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly output: Output;
}

/** Options of `mural pull artifact`. */
export interface PullOptions extends AccessOptions {
  readonly output: string;
}

/** Options of `mural tag artifact`. */
export interface TagOptions extends AccessOptions {
  readonly tag: readonly string[];
}

/** Options of `mural list artifacts`. */
export interface ListOptions extends AccessOptions {
  readonly output: Output;
}

/** `mural push|pull|tag artifact` and `mural list artifacts`, with the flags of the flux CLI. */
export function addArtifacts(program: Command, context: Context): void {
  const format = (flags: string): Option =>
    new Option(flags, 'text, json or yaml').choices(['text', 'json', 'yaml']).default('text');
  const verb = (name: string, noun: string, description: string): Command =>
    withAccess(program.command(name).description(description).command(noun).description(description));
  verb('push', 'artifact', 'pack a folder or file and push it')
    .argument('<oci-url>', 'oci://host/repository:tag')
    .requiredOption('--path <path>', 'folder or file')
    .option('--source <url>', 'where it comes from, kept as an annotation')
    .option('--revision <text>', 'which revision it is, kept as an annotation')
    .option('--annotations <key=value,…>', 'further annotations; may be repeated', pairsOption)
    .addOption(format('-o, --output <format>'))
    .action(async (url: string, options: PushOptions) => {
      const { pushCommand } = await actions();
      await pushCommand(url, options, context);
    });
  verb('pull', 'artifact', 'pull an artifact and unpack it')
    .argument('<oci-url>', 'oci://host/repository:tag, or @digest')
    .requiredOption('--output <dir>', 'folder to unpack into, created if need be')
    .action(async (url: string, options: PullOptions) => {
      const { pullCommand } = await actions();
      await pullCommand(url, options, context);
    });
  verb('tag', 'artifact', 'give an artifact further tags')
    .argument('<oci-url>', 'oci://host/repository:tag, or @digest')
    .requiredOption('--tag <tag>', 'tag to give; may be repeated', collect)
    .action(async (url: string, options: TagOptions) => {
      const { tagCommand } = await actions();
      await tagCommand(url, options, context);
    });
  verb('list', 'artifacts', 'list the tags of a repository')
    .argument('<oci-url>', 'oci://host/repository')
    .addOption(format('-o, --output <format>'))
    .action(async (url: string, options: ListOptions) => {
      const { listCommand } = await actions();
      await listCommand(url, options, context);
    });
}

/** Loaded when they are needed: most commands have nothing to do with a registry. */
async function actions() {
  return import('./artifact-actions.ts');
}

function withAccess(command: Command): Command {
  return command
    .option('--creds <user:password>', "credentials; those of docker's config.json unless given")
    .option('--insecure-registry', 'plain HTTP in place of TLS')
    .option('--ca <file>', 'CA (PEM) to trust beside those of the system');
}

function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}
