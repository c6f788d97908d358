import { type Logger, systemClock } from '@mural/core';
import {
  type MigrationEnd,
  type MigrationRegistry,
  registryPartHash,
  type SpokeRegistrySettings,
} from '@mural/hub';
import { credentialsFromDockerConfig, parseRepositoryUrl, RegistryClient } from '@mural/oci';
import type { Values } from '@mural/values';
import { CliError } from '../errors.ts';
import type { Directory } from '../home/directory.ts';
import { openRegistry } from '../home/opened-registry.ts';
import { chooseRegistry, embeddedRepository, settingsOf, usesEmbedded } from '../home/registry-choice.ts';
import { spokeObject } from '../home/spokes.ts';

/** One end of a migration, opened. */
export interface OpenEnd {
  readonly end: MigrationEnd;
  readonly registry: MigrationRegistry;
  readonly values: Values;
  readonly embedded: boolean;
  /** How a spoke reaches it. */
  settings(spoke: string): SpokeRegistrySettings;
}

/** What the ends are opened with. */
export interface EndsOptions {
  /** Values with their text. */
  readonly from: ValuesText;
  readonly to: ValuesText;
  readonly directory: Directory;
  /** `host:port` of the embedded registry, where the user names it. */
  readonly embeddedHost: string | undefined;
  /** Repository URLs of a migration that has begun between these two. */
  readonly known: { readonly from: string; readonly to: string } | undefined;
  /** Docker's `config.json` with the credential of the embedded registry. */
  readonly dockerConfig: string | undefined;
  readonly ca: string | undefined;
  /** Where proxies and the identity in a cloud are looked up. */
  readonly environment: NodeJS.ProcessEnv;
  readonly log: Logger;
}

/** A values document and its text. */
export interface ValuesText {
  readonly file: string;
  readonly text: string;
  readonly values: Values;
}

/** Opens both ends. Nothing is sent yet. */
export function openEnds(options: EndsOptions): { readonly from: OpenEnd; readonly to: OpenEnd } {
  return { from: openEnd(options, 'from'), to: openEnd(options, 'to') };
}

function openEnd(options: EndsOptions, side: 'from' | 'to'): OpenEnd {
  const document = options[side];
  const embedded = usesEmbedded(document.values);
  const opened = embedded ? openEmbedded(options, side) : openExternal(options, document.values);
  const settings = (name: string): SpokeRegistrySettings => {
    const entry = document.values.fleetConfig.spokes.find((spoke) => spoke.name === name)?.ociRegistry;
    const own =
      entry?.endpoint === undefined || entry.repository === undefined
        ? undefined
        : { ociRegistry: { ...entry, endpoint: entry.endpoint, repository: entry.repository } };
    return settingsOf(opened.directory, spokeObject(name, undefined, own));
  };
  const end = {
    url: opened.url,
    text: document.text,
    valuesHash: registryPartHash(document.values),
    spokeUrl: (spoke: string) => settings(spoke).url,
    names: (spoke: string) => document.values.fleetConfig.spokes.some(({ name }) => name === spoke),
  };
  const { repository } = parseRepositoryUrl(opened.url);
  const { client, putsPerSecond } = opened;
  return {
    end,
    registry: { client, repository, putsPerSecond },
    values: document.values,
    embedded,
    settings,
  };
}

interface Opened {
  readonly url: string;
  readonly client: RegistryClient;
  readonly putsPerSecond: number | undefined;
  readonly directory: Directory['registries'];
}

function openExternal({ ca, environment, log }: EndsOptions, values: Values): Opened {
  const opened = openRegistry({
    values,
    embedded: undefined,
    externalCa: ca,
    environment,
    clock: systemClock,
    log,
  });
  const { url, client, putsPerSecond } = opened.hub;
  return { url, client, putsPerSecond, directory: opened.directory };
}

/** The embedded registry of the hub's home, with the credential that the home gave its owner. */
function openEmbedded(options: EndsOptions, side: 'from' | 'to'): Opened {
  const { dockerConfig, ca, log } = options;
  const choice = chooseRegistry(options[side].values);
  const repository = embeddedRepository(choice.repository);
  const url = options.known?.[side] ?? `oci://${embeddedHost(options, side, repository)}/${repository}`;
  const host = parseRepositoryUrl(url).registry;
  const credentials =
    dockerConfig === undefined ? undefined : credentialsFromDockerConfig(dockerConfig, host);
  if (credentials === undefined) {
    throw new CliError('NotFound', `there is no credential for the embedded registry ${host}`, {
      hint: 'name the config.json that "mural up" wrote: export DOCKER_CONFIG=<data folder>/docker',
    });
  }
  const client = new RegistryClient({ registry: host, credentials, ca, clock: systemClock, log });
  const { interval, timeout } = choice;
  const fleet = { url, interval, timeout, secrets: { credential: true, ca: true } };
  return { url, client, putsPerSecond: undefined, directory: { fleet, spokes: {} } };
}

function embeddedHost(options: EndsOptions, side: 'from' | 'to', repository: string): string {
  if (options.embeddedHost !== undefined) return options.embeddedHost;
  const other = options[side === 'from' ? 'to' : 'from'].values;
  const external = chooseRegistry(other).external?.endpoint;
  const { fleet, spokes } = options.directory.registries;
  const urls = [fleet.url, ...Object.values(spokes).map((settings) => settings.url)];
  const own = urls.find(
    (url) => url.endsWith(`/${repository}`) && (external === undefined || !url.startsWith(`${external}/`)),
  );
  if (own !== undefined) return parseRepositoryUrl(own).registry;
  throw new CliError(
    'Usage',
    `${options[side].file} chooses the embedded registry, and the hub does not say where it is`,
    {
      hint: 'name it with --embedded-registry HOST:PORT',
    },
  );
}
