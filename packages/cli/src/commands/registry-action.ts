import { isLoopbackHost } from '@mural/core';
import { type Context, pathOf, readUserFile } from '../context.ts';
import { CliError } from '../errors.ts';
import type { LoadedConfig } from '../home/follow-config.ts';
import { startRegistryHome } from '../home/registry-home.ts';
import { readRegistryConfig } from '../registry-config/read.ts';
import type { ServeOptions } from './registry.ts';
import { runUntilStopped } from './run.ts';

/** Runs a registry until it is told to stop. */
export async function serveRegistry(options: ServeOptions, context: Context): Promise<void> {
  checkOptions(options);
  const reload = async (tell: (line: string) => void): Promise<LoadedConfig> => load(options, context, tell);
  const loaded = await firstLoad(reload, context);
  checkConfig(options, loaded);
  await runUntilStopped(context, options.readyFile, async () => {
    const home = await startRegistryHome({
      dataDir: pathOf(context, options.data),
      listen: options.listen,
      port: options.port,
      metrics: metricsOf(options),
      anonymous: options.anonymous,
      tls: options.tls ? (loaded.pair ?? 'generated') : 'none',
      log: { level: options.logLevel, echo: context.err },
      loaded,
      reload,
    });
    context.out(`The registry serves at ${home.facts.registry}. Ctrl-C stops it.\n`);
    if (home.facts.dockerConfig !== undefined) {
      context.out(`  export DOCKER_CONFIG=${home.facts.dockerConfig.replace(/\/config\.json$/, '')}\n`);
    }
    if (home.facts.metrics !== undefined) context.out(`  metrics: ${home.facts.metrics}/metrics\n`);
    return home;
  });
}

function metricsOf({ metricsPort, metricsListen }: ServeOptions): { port?: number; listen?: string } {
  return {
    ...(metricsPort === undefined ? {} : { port: metricsPort }),
    ...(metricsListen === undefined ? {} : { listen: metricsListen }),
  };
}

async function firstLoad(
  read: (tell: (line: string) => void) => Promise<LoadedConfig>,
  context: Context,
): Promise<LoadedConfig> {
  try {
    return await read(context.err);
  } catch (error) {
    if (!(error instanceof CliError) || error.code !== 'FileInvalid') throw error;
    throw new CliError('FileInvalid', `${error.message}; nothing was started`);
  }
}

/** Reads everything that the options name; the options go before the configuration. */
async function load(
  options: ServeOptions,
  context: Context,
  tell: (line: string) => void,
): Promise<LoadedConfig> {
  const config = await readRegistryConfig({
    file: options.config,
    htpasswd: options.htpasswd,
    cwd: context.cwd,
    read: async (path) => readUserFile(context, path),
    tell,
  });
  const certFile = options.tlsCert === undefined ? config.certFile : pathOf(context, options.tlsCert);
  const keyFile = options.tlsKey === undefined ? config.keyFile : pathOf(context, options.tlsKey);
  const pair =
    certFile === undefined || keyFile === undefined
      ? undefined
      : { cert: await readUserFile(context, certFile), key: await readUserFile(context, keyFile) };
  const files = [...config.files, certFile, keyFile].filter((file) => file !== undefined);
  return { config, pair, files };
}

function usage(message: string, hint: string): CliError {
  return new CliError('Usage', message, { hint });
}

function checkOptions(options: ServeOptions): void {
  if ((options.tlsCert === undefined) !== (options.tlsKey === undefined)) {
    throw usage('--tls-cert and --tls-key go together', 'give both, or neither for a generated certificate');
  }
  if (!options.tls && options.tlsCert !== undefined) {
    throw usage('--no-tls and --tls-cert contradict each other', 'leave one of them out');
  }
  if (isLoopbackHost(options.listen)) return;
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

/** What only options and configuration together can get wrong. */
function checkConfig(options: ServeOptions, { config, pair }: LoadedConfig): void {
  if (options.metricsListen !== undefined && (options.metricsPort ?? config.metrics.port) === undefined) {
    throw usage('--metrics-listen needs a port', 'give --metrics-port too');
  }
  if (!options.tls && (pair !== undefined || config.access.clientCertificates !== undefined)) {
    throw usage(`--no-tls and tls of ${options.config ?? ''} contradict each other`, 'leave one of them out');
  }
  const anonymous = options.anonymous ?? config.access.anonymous ?? 'none';
  const writes =
    anonymous === 'push' ||
    (typeof anonymous !== 'string' && anonymous.some(({ actions }) => actions.some((one) => one !== 'read')));
  if (writes && !isLoopbackHost(options.listen)) {
    throw usage(
      `anonymous writes of ${options.config ?? ''} are refused on ${options.listen}: anybody could write`,
      'allow read at most, or listen on 127.0.0.1',
    );
  }
}
