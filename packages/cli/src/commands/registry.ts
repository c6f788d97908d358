import type { AnonymousAccess } from '@mural/registry';
import { type Command, Option } from 'commander';
import { type Context, pathOf, readUserFile } from '../context.ts';
import { CliError } from '../errors.ts';
import { addressOption, isLoopback, portOption } from '../options.ts';
import { LOG_LEVELS, runUntilStopped } from './run.ts';

interface ServeOptions {
  readonly data: string;
  readonly listen: string;
  readonly port: number;
  readonly htpasswd?: string;
  readonly anonymous: AnonymousAccess;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tls: boolean;
  readonly readyFile?: string;
  readonly logLevel: string;
}

/** `mural registry serve`. */
export function addRegistry(program: Command, context: Context): void {
  program
    .command('registry')
    .description('the OCI registry alone')
    .command('serve')
    .description('run the OCI registry')
    .option('--data <dir>', 'folder of all state', '.mural-registry')
    .option('--listen <address>', 'address to listen on', addressOption, '127.0.0.1')
    .option('--port <port>', 'port; 0 for any', portOption, 5000)
    .option('--htpasswd <file>', 'users, with bcrypt hashes; a generated one unless given')
    .addOption(
      new Option('--anonymous <access>', 'what works without credentials')
        .choices(['none', 'pull', 'push'])
        .default('none'),
    )
    .option('--tls-cert <file>', 'certificate (PEM); a generated one unless given')
    .option('--tls-key <file>', 'its key (PEM)')
    .option('--no-tls', 'plain HTTP, on loopback only')
    .option('--ready-file <file>', 'written as JSON when the registry serves, removed at stop')
    .addOption(new Option('--log-level <level>', 'how much is logged').choices(LOG_LEVELS).default('info'))
    .action(async (options: ServeOptions) => serve(options, context));
}

async function serve(options: ServeOptions, context: Context): Promise<void> {
  checkOptions(options);
  const read = async (file: string | undefined) =>
    file === undefined ? undefined : readUserFile(context, file);
  const cert = await read(options.tlsCert);
  const key = await read(options.tlsKey);
  const htpasswd = await read(options.htpasswd);
  const { startRegistryHome } = await import('../home/registry-home.ts');
  await runUntilStopped(context, options.readyFile, async () => {
    const home = await startRegistryHome({
      dataDir: pathOf(context, options.data),
      listen: options.listen,
      port: options.port,
      htpasswd,
      anonymous: options.anonymous,
      tls: !options.tls ? 'none' : cert === undefined || key === undefined ? 'generated' : { cert, key },
      log: { level: options.logLevel, echo: context.err },
    });
    context.out(`The registry serves at ${home.facts.registry}. Ctrl-C stops it.\n`);
    if (home.facts.dockerConfig !== undefined) {
      context.out(`  export DOCKER_CONFIG=${home.facts.dockerConfig.replace(/\/config\.json$/, '')}\n`);
    }
    return home;
  });
}

function checkOptions(options: ServeOptions): void {
  const usage = (message: string, hint: string): CliError => new CliError('Usage', message, { hint });
  if ((options.tlsCert === undefined) !== (options.tlsKey === undefined)) {
    throw usage('--tls-cert and --tls-key go together', 'give both, or neither for a generated certificate');
  }
  if (!options.tls && options.tlsCert !== undefined) {
    throw usage('--no-tls and --tls-cert contradict each other', 'leave one of them out');
  }
  if (isLoopback(options.listen)) return;
  if (!options.tls) {
    throw usage(
      `--no-tls is refused on ${options.listen}: passwords would travel in clear`,
      'use TLS, or listen on 127.0.0.1',
    );
  }
  if (options.anonymous === 'push') {
    throw usage(
      `--anonymous push is refused on ${options.listen}: anybody could write`,
      'allow pull at most, or listen on 127.0.0.1',
    );
  }
}
