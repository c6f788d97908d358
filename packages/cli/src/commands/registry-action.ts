import { type Context, pathOf, readUserFile } from '../context.ts';
import { CliError } from '../errors.ts';
import { startRegistryHome } from '../home/registry-home.ts';
import { isLoopback } from '../options.ts';
import type { ServeOptions } from './registry.ts';
import { runUntilStopped } from './run.ts';

/** Runs a registry until it is told to stop. */
export async function serveRegistry(options: ServeOptions, context: Context): Promise<void> {
  checkOptions(options);
  const read = async (file: string | undefined) =>
    file === undefined ? undefined : readUserFile(context, file);
  const cert = await read(options.tlsCert);
  const key = await read(options.tlsKey);
  const htpasswd = await read(options.htpasswd);
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
