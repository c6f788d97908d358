import { parseValues, type Values, defaultValues, formatFinding, hasErrors } from '@mural/values';
import { type Command, Option } from 'commander';
import { type Context, pathOf, readUserFile } from '../context.ts';
import { CliError } from '../errors.ts';
import { addressOption, portOption } from '../options.ts';
import { LOG_LEVELS, runUntilStopped } from './run.ts';

interface UpOptions {
  readonly data: string;
  readonly listen: string;
  readonly advertise?: string;
  readonly apiPort: number;
  readonly registryPort: number;
  readonly values?: string;
  readonly registryCa?: string;
  readonly readyFile?: string;
  readonly helm?: string;
  readonly kustomize?: string;
  readonly logLevel: string;
}

/** `mural up`: the whole hub in one process. */
export function addUp(program: Command, context: Context): void {
  program
    .command('up')
    .description('run the whole hub in one process: API, registry and controllers')
    .option('--data <dir>', 'folder of all state', '.mural')
    .option('--listen <address>', 'address to listen on', addressOption, '127.0.0.1')
    .option('--advertise <host>', 'name or address that clients and spokes are told, if it is another')
    .option('--api-port <port>', 'port of the Kubernetes API; 0 for any', portOption, 7443)
    .option('--registry-port <port>', 'port of the OCI registry; 0 for any', portOption, 5000)
    // Part of the command line of `mural up`; without a console in this process nothing listens there.
    .addOption(new Option('--console-port <port>').argParser(portOption).hideHelp())
    .option('--values <file>', 'values.yaml of the chart')
    .option('--registry-ca <file>', 'CA (PEM) of a registry other than the embedded one')
    .option('--ready-file <file>', 'written as JSON when everything serves, removed at stop')
    .option('--helm <path>', 'the helm binary; found on PATH unless given')
    .option('--kustomize <path>', 'the kustomize binary; found on PATH unless given')
    .addOption(new Option('--log-level <level>', 'how much is logged').choices(LOG_LEVELS).default('info'))
    .action(async (options: UpOptions) => up(options, context));
}

async function up(options: UpOptions, context: Context): Promise<void> {
  const values = options.values === undefined ? defaultValues() : await readValues(context, options.values);
  const registryCa =
    options.registryCa === undefined ? undefined : await readUserFile(context, options.registryCa);
  // Loaded here, so that the other commands start without it.
  const { startHubHome } = await import('../home/hub-home.ts');
  await runUntilStopped(context, options.readyFile, async () => {
    const home = await startHubHome({
      dataDir: pathOf(context, options.data),
      listen: options.listen,
      advertise: options.advertise,
      apiPort: options.apiPort,
      registryPort: options.registryPort,
      values,
      registryCa,
      renderers: {
        ...(options.helm === undefined ? {} : { helm: pathOf(context, options.helm) }),
        ...(options.kustomize === undefined ? {} : { kustomize: pathOf(context, options.kustomize) }),
      },
      log: { level: options.logLevel, echo: context.err },
    });
    const { api, registry, kubeconfig, dockerConfig } = home.facts;
    const lines = [
      `The hub serves its API at ${api} and its registry at ${registry}.`,
      `  export KUBECONFIG=${kubeconfig}`,
      `  export DOCKER_CONFIG=${dockerConfig.replace(/\/config\.json$/, '')}`,
      'Ctrl-C stops it.',
    ];
    context.out(`${lines.join('\n')}\n`);
    return home;
  });
}

/** Reads a values file; its warnings are told, and an error refuses the start. */
async function readValues(context: Context, file: string): Promise<Values> {
  const { values, findings } = parseValues(await readUserFile(context, file), file);
  for (const finding of findings) context.err(`${formatFinding(finding)}\n`);
  if (hasErrors(findings)) {
    throw new CliError('ValuesInvalid', `${file} is not valid; nothing was started`, {
      hint: `"mural values lint ${file}" checks it again`,
    });
  }
  return values;
}
