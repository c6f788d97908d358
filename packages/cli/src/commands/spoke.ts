import { systemClock } from '@mural/core';
import { createKubeClient, type KubeClient, type KubeObject, type Spoke, SPOKES } from '@mural/kube';
import { type Command, Option } from 'commander';
import { parseAllDocuments, stringify } from 'yaml';
import { type Context, pathOf, readUserFile } from '../context.ts';
import { CliError } from '../errors.ts';
import { spokeObject } from '../home/spokes.ts';
import { connectionOf } from '../kubeconfig.ts';
import { addressOption, pairsOption, portOption } from '../options.ts';
import { LOG_LEVELS, runUntilStopped } from './run.ts';

interface BootstrapOptions {
  readonly create?: boolean;
  readonly labels?: Readonly<Record<string, string>>;
  readonly kubeconfig?: string;
}

interface RunOptions {
  readonly data: string;
  readonly bootstrap: string;
  readonly kubeconfig?: string;
  readonly listen: string;
  readonly apiPort: number;
  readonly readyFile?: string;
  readonly logLevel: string;
}

/** `mural spoke bootstrap` and `mural spoke run`. */
export function addSpoke(program: Command, context: Context): void {
  const spoke = program.command('spoke').description('members of the fleet');
  spoke
    .command('bootstrap')
    .description('print the manifests that make a cluster a spoke; they hold its credentials')
    .argument('<name>', 'name of the spoke')
    .option('--create', 'create the Spoke object if there is none')
    .option('--labels <key=value,…>', 'labels of the Spoke, with --create', pairsOption)
    .option('--kubeconfig <file>', 'kubeconfig of the hub; $KUBECONFIG or .mural/kubeconfig unless given')
    .action(async (name: string, options: BootstrapOptions) => bootstrap(name, options, context));
  spoke
    .command('run')
    .description('run a spoke: its controllers and, unless it is given one, its own embedded API')
    .requiredOption('--data <dir>', 'folder of all state')
    .requiredOption('--bootstrap <file>', 'what "mural spoke bootstrap" printed')
    .option('--kubeconfig <file>', 'cluster to work in, in place of an embedded API')
    .option('--listen <address>', 'address of the embedded API', addressOption, '127.0.0.1')
    .option('--api-port <port>', 'port of the embedded API; 0 for any', portOption, 0)
    .option('--ready-file <file>', 'written as JSON when everything serves, removed at stop')
    .addOption(new Option('--log-level <level>', 'how much is logged').choices(LOG_LEVELS).default('info'))
    .action(async (options: RunOptions) => run(options, context));
}

async function bootstrap(name: string, options: BootstrapOptions, context: Context): Promise<void> {
  if (options.labels !== undefined && options.create !== true) {
    throw new CliError('Usage', '--labels goes with --create', {
      hint: `label a spoke that is there with "kubectl label spoke ${name} key=value"`,
    });
  }
  const { bootstrapObjects } = await import('../home/bootstrap.ts');
  const client = createKubeClient(await connectionOf(context, options.kubeconfig));
  try {
    if (options.create === true) await ensureSpoke(client, name, options.labels);
    const objects = await bootstrapObjects(client, name, { clock: systemClock, signal: context.signal });
    context.out(objects.map((object) => stringify(object, { lineWidth: 0 })).join('---\n'));
  } finally {
    await client.close();
  }
}

async function ensureSpoke(
  client: KubeClient,
  name: string,
  labels: Readonly<Record<string, string>> | undefined,
): Promise<void> {
  const present = await client.find<Spoke>(SPOKES, { name });
  if (present === undefined) {
    await client.create(SPOKES, spokeObject(name, labels, undefined));
  } else if (labels !== undefined) {
    await client.patch(SPOKES, { name }, 'merge', { metadata: { labels } });
  }
}

async function run(options: RunOptions, context: Context): Promise<void> {
  const objects = readManifests(await readUserFile(context, options.bootstrap), options.bootstrap);
  const { startSpokeHome } = await import('../home/spoke-home.ts');
  await runUntilStopped(context, options.readyFile, async () => {
    const home = await startSpokeHome({
      dataDir: pathOf(context, options.data),
      bootstrap: objects,
      kubeconfig: options.kubeconfig === undefined ? undefined : pathOf(context, options.kubeconfig),
      listen: options.listen,
      apiPort: options.apiPort,
      log: { level: options.logLevel, echo: context.err },
    });
    const { name, api, kubeconfig } = home.facts;
    context.out(`The spoke ${name} runs; its API is ${api}.\n  export KUBECONFIG=${kubeconfig}\n`);
    return home;
  });
}

function readManifests(text: string, file: string): KubeObject[] {
  const parsed = parseAllDocuments(text);
  const documents = 'empty' in parsed ? [] : parsed;
  const objects: KubeObject[] = [];
  for (const document of documents) {
    const [error] = document.errors;
    if (error !== undefined) {
      const line = error.linePos?.[0].line ?? 1;
      throw new CliError(
        'FileInvalid',
        `${file}:${line}: invalid YAML: ${error.message.split('\n')[0] ?? ''}`,
      );
    }
    const object = document.toJS({ maxAliasCount: 100 }) as KubeObject | null;
    if (object !== null) objects.push(object);
  }
  return objects;
}
