import { formatFinding, hasErrors, lintValues } from '@mural/values';
import { type Context, pathOf, readUserFile } from '../context.ts';
import { CliError } from '../errors.ts';
import type { LoadedConfig } from '../home/follow-config.ts';
import { startHubHome } from '../home/hub-home.ts';
import { layoutOf } from '../home/layout.ts';
import { rememberedSettings, type RegistrySettings } from '../home/registry-settings.ts';
import type { GivenValues } from '../home/values-in-force.ts';
import { readRegistryConfig } from '../registry-config/read.ts';
import { runUntilStopped } from './run.ts';
import type { UpOptions } from './up.ts';

/** Runs a hub until it is told to stop. */
export async function runUp(options: UpOptions, context: Context): Promise<void> {
  const values = options.values === undefined ? undefined : await readValues(context, options.values);
  const registryCa =
    options.registryCa === undefined ? undefined : await readUserFile(context, options.registryCa);
  const registrySettings = await readSettings(context, options);
  await runUntilStopped(context, options.readyFile, async () => {
    const home = await startHubHome({
      dataDir: pathOf(context, options.data),
      listen: options.listen,
      advertise: options.advertise,
      apiPort: options.apiPort,
      registryPort: options.registryPort,
      consolePort: options.consolePort,
      values,
      registryCa,
      registrySettings,
      renderers: {
        ...(options.helm === undefined ? {} : { helm: pathOf(context, options.helm) }),
        ...(options.kustomize === undefined ? {} : { kustomize: pathOf(context, options.kustomize) }),
      },
      log: { level: options.logLevel, echo: context.err },
    });
    const { api, registry, console: page, kubeconfig, dockerConfig, metrics } = home.facts;
    const lines = [
      `The hub serves its API at ${api} and its registry at ${registry}.`,
      `The console is at ${page}; the token that it asks for is in the kubeconfig.`,
      ...(metrics === undefined ? [] : [`The metrics of the registry are at ${metrics}/metrics.`]),
      `  export KUBECONFIG=${kubeconfig}`,
      `  export DOCKER_CONFIG=${dockerConfig.replace(/\/config\.json$/, '')}`,
      'Ctrl-C stops it.',
    ];
    context.out(`${lines.join('\n')}\n`);
    return home;
  });
}

/** Reads a values file; its warnings are told, and an error refuses the start. */
async function readValues(context: Context, file: string): Promise<GivenValues> {
  const text = await readUserFile(context, file);
  const findings = lintValues(text, file);
  for (const finding of findings) context.err(`${formatFinding(finding)}\n`);
  if (hasErrors(findings)) {
    throw new CliError('ValuesInvalid', `${file} is not valid; nothing was started`, {
      hint: `"mural values lint ${file}" checks it again`,
    });
  }
  return { text, file };
}

/** Reads the settings of the registry: those given, else those of the last start. */
async function readSettings(context: Context, options: UpOptions): Promise<RegistrySettings | undefined> {
  if (options.registryConfig === false) return undefined;
  const given = options.registryConfig;
  const name = given ?? (await rememberedSettings(layoutOf(pathOf(context, options.data))));
  if (name === undefined) return undefined;
  const file = pathOf(context, name);
  const read = async (path: string): Promise<string> => readUserFile(context, path);
  const reload = async (tell: (line: string) => void): Promise<LoadedConfig> => {
    const config = await readRegistryConfig({ file: name, ofHub: true, cwd: context.cwd, read, tell });
    return { config, files: config.files };
  };
  try {
    return { file, loaded: await reload(context.err), reload };
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    const last =
      'it is that of the last start; name another with --registry-config, or give --no-registry-config';
    const hint = given === undefined ? last : error.hint;
    throw new CliError(
      error.code,
      `${error.message}; nothing was started`,
      hint === undefined ? {} : { hint },
    );
  }
}
