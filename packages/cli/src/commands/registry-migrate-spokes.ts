import { spokeNames } from '@mural/hub';
import { type KubeClient, type KubeObject, MURAL_NAMESPACE, SECRETS, type Spoke, SPOKES } from '@mural/kube';
import {
  type Credential,
  credentialsFromDockerConfig,
  digestOf,
  dockerConfigOf,
  OciError,
  parseRepositoryUrl,
  RegistryClient,
} from '@mural/oci';
import type { SpokeValues, Values } from '@mural/values';
import { CliError } from '../errors.ts';
import { cloudOf, credentialOf } from '../home/registry-choice.ts';
import { hubSpokeName } from '../home/spokes.ts';
import { textOf } from '../home/values-store.ts';
import type { OpenEnd } from './registry-migrate-ends.ts';

/** What the spokes need is judged with these. */
export interface SpokeNeeds {
  readonly client: KubeClient;
  readonly from: OpenEnd;
  readonly to: OpenEnd;
  /** PEM of the CAs of both registries. */
  readonly ca: string | undefined;
}

const SHOWN = 5;
const LOGINS_AT_A_TIME = 8;

/**
 * Finds spokes that could not read the new registry, before any is moved: a spoke that is sent to a
 * registry that it cannot read cannot be called back through it.
 *
 * @returns names of the spokes whose clusters need a Secret that no registry can bring them
 * @throws CliError `ValuesInvalid`
 */
export async function checkSpokes(needs: SpokeNeeds, signal: AbortSignal): Promise<string[]> {
  const { to } = needs;
  const own = hubSpokeName(to.values);
  const { items } = await needs.client.list<Spoke>(SPOKES, { signal });
  const names = items.flatMap(({ metadata }) => metadata.name ?? []).sort();
  const reading = names.filter((name) => {
    const { provider, url } = to.settings(name);
    return name !== own && cloudOf(provider) === undefined && url === to.end.url;
  });
  const anonymous = reading.filter((name) => to.settings(name).secrets?.credential !== true);
  if (anonymous.length > 0) await requireAnonymous(needs, anonymous, signal);
  if (to.embedded) return [];
  const secret = reading.filter((name) => to.settings(name).secrets?.credential === true);
  for (let start = 0; start < secret.length; start += LOGINS_AT_A_TIME) {
    const some = secret.slice(start, start + LOGINS_AT_A_TIME);
    await Promise.all(some.map(async (name) => requireAccepted(needs, name, signal)));
  }
  return reading.filter((name) => needsSecret(needs, name));
}

/** A credential, or a CA that the spoke does not have for the registry it reads now. */
function needsSecret({ from, to }: SpokeNeeds, name: string): boolean {
  const { secrets } = to.settings(name);
  return secrets?.credential === true || (secrets?.ca === true && from.settings(name).secrets?.ca !== true);
}

async function requireAnonymous(
  needs: SpokeNeeds,
  names: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  if (await canRead(needs, undefined, signal)) return;
  const more = names.length > SHOWN ? ` and ${names.length - SHOWN} more` : '';
  throw new CliError(
    'ValuesInvalid',
    `${needs.to.end.url} does not let everybody read, and the values give no credential to ${names.slice(0, SHOWN).join(', ')}${more}`,
    { hint: 'write fleetConfig.spokes[].ociRegistry.basicAuth for each into the file of --to' },
  );
}

async function requireAccepted(needs: SpokeNeeds, name: string, signal: AbortSignal): Promise<void> {
  if (await canRead(needs, credentialOfSpoke(needs.to, name), signal)) return;
  throw new CliError('ValuesInvalid', `${needs.to.end.url} refuses the credential of spoke ${name}`, {
    hint: 'correct fleetConfig.spokes[].ociRegistry.basicAuth in the file of --to, or the rights of its account',
  });
}

async function canRead(
  needs: SpokeNeeds,
  credentials: Credential | undefined,
  signal: AbortSignal,
): Promise<boolean> {
  const { registry, repository } = parseRepositoryUrl(needs.to.end.url);
  const insecure = needs.to.values.hue.ociRegistry.insecure;
  const client = new RegistryClient({ registry, credentials, insecure, ca: needs.ca });
  try {
    await client.headBlob(repository, { digest: digestOf(Buffer.from('mural: may I read?')) }, signal);
    return true;
  } catch (error) {
    if (error instanceof OciError && (error.code === 'AuthenticationFailed' || error.code === 'AccessDenied'))
      return false;
    throw error;
  } finally {
    await client.close();
  }
}

function credentialOfSpoke({ values }: OpenEnd, name: string): Credential | undefined {
  const entry = entryOf(values, name);
  const own = name === hubSpokeName(values) ? credentialOf(values.hue.ociRegistry.basicAuth) : undefined;
  return credentialOf(entry?.ociRegistry?.basicAuth) ?? own;
}

/**
 * The Secrets with which a spoke reads both registries.
 *
 * @throws CliError `NotFound` when there is no such spoke, or no credential for one of the registries
 */
export async function spokeSecrets(needs: SpokeNeeds, name: string): Promise<readonly KubeObject[]> {
  const { client } = needs;
  if ((await client.find(SPOKES, { name })) === undefined) {
    throw new CliError('NotFound', `the hub knows no spoke named ${name}`);
  }
  const ref = { name: spokeNames(name).registrySecret, namespace: MURAL_NAMESPACE };
  const kept = textOf(await client.find<KubeObject>(SECRETS, ref), '.dockerconfigjson');
  const logins = [needs.from, needs.to].flatMap((end) => {
    const settings = end.settings(name);
    if (settings.secrets?.credential !== true) return [];
    const host = parseRepositoryUrl(settings.url).registry;
    const credential = credentialOfSpoke(end, name) ?? credentialsFromDockerConfig(kept ?? '{}', host);
    if (credential !== undefined) return [{ host, credential }];
    throw new CliError('NotFound', `there is no credential of spoke ${name} for ${host}`, {
      hint: 'the hub makes it while the spoke is to read that registry; was it moved already?',
    });
  });
  const authorities = authoritiesOf(needs, name);
  const secret = (secretName: string, type: string, data: Readonly<Record<string, string>>) => ({
    ...{ apiVersion: 'v1', kind: 'Secret', type },
    metadata: { name: secretName, namespace: MURAL_NAMESPACE },
    data: Object.fromEntries(
      Object.entries(data).map(([key, text]) => [key, Buffer.from(text).toString('base64')]),
    ),
  });
  return [
    secret('mural-registry', 'kubernetes.io/dockerconfigjson', {
      '.dockerconfigjson': dockerConfigOf(logins),
    }),
    ...(authorities === '' ? [] : [secret('mural-registry-ca', 'Opaque', { 'ca.crt': authorities })]),
  ];
}

/** The CAs of both registries, and of those that values name for the spoke alone, such as the mirror of its site. */
function authoritiesOf({ from, to, ca }: SpokeNeeds, name: string): string {
  const own = [from, to].map(({ values }) => entryOf(values, name)?.ociRegistry?.ca);
  const present = [ca, ...own].flatMap((pem) => (pem === undefined ? [] : [`${pem.trimEnd()}\n`]));
  return [...new Set(present)].join('');
}

function entryOf(values: Values, name: string): SpokeValues | undefined {
  return values.fleetConfig.spokes.find((spoke) => spoke.name === name);
}
