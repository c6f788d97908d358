import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { randomUUID } from 'node:crypto';
import { silentLogger, systemClock } from '@mural/core';
import {
  KubeFleetView,
  KubeStateStore,
  KubeValuesStore,
  MigrationError,
  type MigrationWorld,
  previewMigration,
  registryPartHash,
  RegistryPair,
} from '@mural/hub';
import { createKubeClient, type KubeClient, MURAL_NAMESPACE } from '@mural/kube';
import { hasErrors, parseValues, type Values } from '@mural/values';
import { stringify } from 'yaml';
import { type Context, pathOf, readUserFile } from '../context.ts';
import { CliError } from '../errors.ts';
import { readDirectory } from '../home/directory.ts';
import { RELEASE_MANAGER, RELEASE_METADATA } from '../home/values-store.ts';
import { connectionOf, kubeconfigPath } from '../kubeconfig.ts';
import type { MigrateOptions } from './registry-migrate.ts';
import { drive } from './registry-migrate-drive.ts';
import { openEnds, type ValuesText } from './registry-migrate-ends.ts';
import { previewText, type Progress, progressTo } from './registry-migrate-output.ts';
import { checkSpokes, type SpokeNeeds, spokeSecrets } from './registry-migrate-spokes.ts';
import { readValuesFile } from './values-actions.ts';

/** How often the fleet is looked at while something is waited for. */
const POLL_MS = 1000;

/** Moves the fleet from one registry to another, or back. */
export async function migrateRegistry(options: MigrateOptions, context: Context): Promise<void> {
  const client = createKubeClient(await connectionOf(context, options.kubeconfig));
  const closers = [async () => client.close()];
  try {
    const needs = await needsOf(options, context, client);
    for (const { registry } of [needs.from, needs.to]) closers.push(async () => registry.client.close());
    if (options.printSecrets === undefined) {
      await run(options, context, needs);
      return;
    }
    const objects = await spokeSecrets(needs, options.printSecrets);
    context.out(objects.map((object) => stringify(object)).join('---\n'));
  } finally {
    await Promise.all(closers.map(async (close) => close()));
  }
}

/** Reads the files and what the hub says of itself, and opens both registries. */
async function needsOf(options: MigrateOptions, context: Context, client: KubeClient): Promise<SpokeNeeds> {
  const from = await valuesText(context, options.values);
  const to = await valuesText(context, options.to);
  const directory = await readDirectory(client);
  const { value: state } = await new KubeStateStore(client).read(context.signal);
  const isKnown =
    state?.from.valuesHash === registryPartHash(from.values) &&
    state.to.valuesHash === registryPartHash(to.values);
  const given =
    options.registryCa === undefined ? undefined : await readUserFile(context, options.registryCa);
  const certificates = [directory.registryCa, given].flatMap((pem) => pem?.trimEnd() ?? []);
  const ca = certificates.length === 0 ? undefined : `${certificates.join('\n')}\n`;
  const ends = openEnds({
    ...{ from, to, directory, ca, log: silentLogger, environment: context.env },
    embeddedHost: options.embeddedRegistry,
    known: isKnown ? { from: state.from.url, to: state.to.url } : undefined,
    dockerConfig: await dockerConfigText(context, options),
  });
  return { client, ...ends, ca };
}

async function valuesText(context: Context, file: string): Promise<ValuesText> {
  const values = await readValuesFile(context, file);
  return { file, text: await readUserFile(context, file), values };
}

/** That of `$DOCKER_CONFIG`, else the one that `mural up` wrote beside its kubeconfig, else the user's. */
async function dockerConfigText(context: Context, options: MigrateOptions): Promise<string | undefined> {
  const { DOCKER_CONFIG: named, HOME: home } = context.env;
  const beside = join(dirname(kubeconfigPath(context, options.kubeconfig)), 'docker');
  const folders = named !== undefined ? [named] : [beside, join(home ?? homedir(), '.docker')];
  const file = folders
    .map((folder) => pathOf(context, join(folder, 'config.json')))
    .find((path) => existsSync(path));
  return file === undefined ? undefined : readFile(file, 'utf8');
}

async function run(options: MigrateOptions, context: Context, needs: SpokeNeeds): Promise<void> {
  const progress = progressTo(context, options.format, () => systemClock.now());
  const world = worldOf(options, context, needs, progress);
  const back = options.rollback === true;
  const secrets = back ? [] : await checkSpokes(needs, context.signal);
  try {
    if (options.dryRun === true) {
      const preview = await previewMigration(world, back ? 'from' : 'to');
      if (options.format === 'json') {
        context.out(`${JSON.stringify({ type: 'plan', ...preview, needSecrets: secrets })}\n`);
      } else context.out(previewText(preview, secrets));
      return;
    }
    if (options.yes !== true) await requireSecrets(world, secrets, options);
    await drive(world, needs.client, back ? 'from' : 'to');
  } catch (error) {
    if (!(error instanceof MigrationError) || error.code !== 'ValuesDiffer') throw error;
    throw await explained(world, needs, error);
  }
  for (const line of farewell(options, needs)) progress.say(line);
}

function worldOf(
  options: MigrateOptions,
  context: Context,
  needs: SpokeNeeds,
  progress: Progress,
): MigrationWorld {
  const { client, from, to } = needs;
  const clock = systemClock;
  const random = Math.random;
  return {
    plan: {
      id: randomUUID(),
      ...{ from: from.end, to: to.end },
      hashOf: (text) => {
        const values = readQuietly(text);
        return values === undefined ? undefined : registryPartHash(values);
      },
      ...{ waveSize: options.waveSize, timeoutMs: options.timeout, pollMs: POLL_MS },
      assumed: options.assumeSwitched ?? [],
    },
    ports: {
      states: new KubeStateStore(client),
      values: new KubeValuesStore(client, { manager: RELEASE_MANAGER, metadata: RELEASE_METADATA }),
      fleet: new KubeFleetView(client),
      registries: new RegistryPair({ from: from.registry, to: to.registry, clock, random }),
      ...{ clock, random, progress: progress.event },
    },
    signal: context.signal,
  };
}

function readQuietly(text: string): Values | undefined {
  const { values, findings } = parseValues(text, 'mural-values');
  return hasErrors(findings) ? undefined : values;
}

/** Stops before the first spoke moves, unless the user says that their clusters are ready for it. */
async function requireSecrets(
  { ports, signal }: MigrationWorld,
  names: readonly string[],
  options: MigrateOptions,
): Promise<void> {
  const { value: state } = await ports.states.read(signal);
  const switched = new Set(state?.phase === 'RolledBack' ? [] : state?.switched);
  const lacking = names.filter((name) => !switched.has(name));
  const [first] = lacking;
  if (first === undefined) return;
  const files = `--values ${options.values} --to ${options.to}`;
  throw new CliError(
    'NotReady',
    `${lacking.length} spokes read the new registry with Secrets that their clusters must have before: ${lacking.slice(0, 10).join(', ')}${lacking.length > 10 ? ', …' : ''}`,
    {
      hint: `for each: mural registry migrate ${files} --print-secrets ${first} | kubectl --context ${first} apply -f -; then run this again with --yes`,
    },
  );
}

/** The error with what differs between the values in force and both files. */
async function explained(
  { ports, signal }: MigrationWorld,
  needs: SpokeNeeds,
  error: MigrationError,
): Promise<MigrationError> {
  const { value } = await ports.values.read(signal);
  const inForce = readQuietly(value?.current ?? '');
  if (inForce === undefined) return error;
  const lines = differences(inForce, needs.from.values);
  return new MigrationError('ValuesDiffer', [error.message, ...lines].join('\n  '), {
    cause: error,
    hint: `the values in force: kubectl get secret mural-values --namespace ${MURAL_NAMESPACE} -o jsonpath='{.data.values\\.yaml}' | base64 -d`,
  });
}

/** What of a registry block says where it is. */
type RegistryKeys = Partial<
  Readonly<
    Record<'enabled' | 'endpoint' | 'repository' | 'provider' | 'insecure', string | boolean | undefined>
  >
>;

/** Where two values documents name other registries, a line each; passwords are not among it. */
function differences(inForce: Values, file: Values): string[] {
  const rows = (values: Values): Map<string, string> => {
    const { ociRegistry: hub } = values.hue;
    const parts: [string, RegistryKeys][] = [['hue.ociRegistry', hub]];
    for (const { name, ociRegistry } of values.fleetConfig.spokes) {
      if (ociRegistry !== undefined)
        parts.push([`fleetConfig.spokes[name=${name}].ociRegistry`, ociRegistry]);
    }
    const keys = ['enabled', 'endpoint', 'repository', 'provider', 'insecure'] as const;
    return new Map(
      parts.flatMap(([path, part]) => keys.map((key) => [`${path}.${key}`, String(part[key] ?? 'not set')])),
    );
  };
  const [now, then] = [rows(inForce), rows(file)];
  return [...new Set([...now.keys(), ...then.keys()])]
    .filter((key) => (now.get(key) ?? 'not set') !== (then.get(key) ?? 'not set'))
    .map((key) => `${key}: ${now.get(key) ?? 'not set'} in force, ${then.get(key) ?? 'not set'} in the file`);
}

/** What is left to the user. */
function farewell(options: MigrateOptions, { from, to }: SpokeNeeds): string[] {
  const [left, taken, file] = options.rollback === true ? [to, from, options.values] : [from, to, options.to];
  return [
    `The fleet reads ${taken.end.url}. Nothing needs ${left.end.url} any more: it can be removed.`,
    ...(left.embedded
      ? [`To stop the embedded registry, write "zot: {enabled: false}" into ${file} and apply it.`]
      : []),
    `Where you keep the values (a HelmRelease, helm upgrade, mural up --values), use ${file} from now on.`,
  ];
}
