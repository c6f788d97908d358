import { providerOfHost } from '@mural/oci';
import { isRecord } from '@mural/core';
import type { Endpoint } from '../address.ts';
import type { Found, ValuesDocument } from '../document.ts';
import { endpointOf, formatPath, type RegistryPlace, registriesOf } from './rule.ts';

type Checked = RegistryPlace & { readonly endpoint: Endpoint };

/** What a host of ECR asks of the keys beside it, and hosts that only look like ECR's. */
export function* checkEcr(document: ValuesDocument): Iterable<Found> {
  let warned = false;
  for (const place of registriesOf(document)) {
    const endpoint = endpointOf(place.value);
    if (endpoint === undefined) {
      yield* checkWithoutEndpoint(document, place);
      continue;
    }
    const checked = { ...place, endpoint };
    yield* checkProvider(document, checked);
    if (endpoint.ecr === undefined) continue;
    yield* checkTls(document, checked);
    if (endpoint.ecr.kind === 'private') continue;
    yield* checkAlias(document, checked);
    if (!warned) yield publicToTheWorld(document, checked);
    warned = true;
  }
}

/** The embedded registry knows no identities of clouds. */
function* checkWithoutEndpoint(document: ValuesDocument, place: RegistryPlace): Iterable<Found> {
  const { path, value, spoke } = place;
  const { provider } = value;
  if (spoke !== undefined || value.endpoint !== undefined || value.enabled === false) return;
  if (typeof provider !== 'string' || !['aws', 'azure', 'gcp'].includes(provider)) return;
  const at = [...path, 'provider'];
  const message = `${formatPath(at)} is ${provider} and ${formatPath([...path, 'endpoint'])} names no registry: write the endpoint too`;
  yield document.finding(at, { level: 'error', message, rule: 'provider-host' });
}

function* checkProvider(document: ValuesDocument, place: Checked): Iterable<Found> {
  const { endpoint, path, value } = place;
  const at = [...path, 'endpoint'];
  const cloud = endpoint.host === endpoint.registry ? providerOfHost(endpoint.host) : undefined;
  const provider = value.provider ?? 'generic';
  const near = cloud === undefined ? nearEcr(endpoint) : undefined;
  if (near !== undefined) {
    const level = provider === 'aws' ? 'error' : 'warning';
    const message = `${formatPath(at)}: ${endpoint.registry} looks like ECR and is not: ${near}`;
    yield document.finding(at, { level, message, rule: 'ecr-host' });
    return;
  }
  if (provider === 'generic') {
    if (cloud !== undefined) yield* checkGeneric(document, place, cloud);
    return;
  }
  if (typeof provider !== 'string' || !['aws', 'azure', 'gcp'].includes(provider) || provider === cloud)
    return;
  const where = formatPath([...path, 'provider']);
  const right =
    cloud === undefined
      ? `${endpoint.registry} is no registry of that cloud, and its token goes nowhere else: write generic`
      : `${endpoint.registry} needs ${cloud}`;
  const about = {
    level: 'error',
    message: `${where} is ${provider}: ${right}`,
    rule: 'provider-host',
  } as const;
  // Whether the address or the provider is wrong, nobody else can tell.
  yield document.finding([...path, 'provider'], { ...about, ...(cloud === undefined ? {} : { fix: cloud }) });
}

/** A registry of a cloud without its provider: nobody signs in, or with a password that lasts hours. */
function* checkGeneric(document: ValuesDocument, place: Checked, cloud: string): Iterable<Found> {
  const { endpoint, path, value, spoke } = place;
  const at = [...path, value.provider === undefined ? 'endpoint' : 'provider'];
  const where = `${formatPath([...path, 'provider'])} must be ${cloud} for ${endpoint.registry}`;
  const rule = 'provider-host';
  if (isRecord(value.basicAuth)) {
    const lasts =
      cloud === 'aws'
        ? 'a password of ECR is a token that expires after 12 hours'
        : 'an access token expires';
    const message = `${where}, or basicAuth must be renewed by hand: ${lasts}`;
    yield document.finding(at, { level: 'warning', message, rule, fix: cloud });
    return;
  }
  if (endpoint.ecr?.kind === 'public' && spoke !== undefined) {
    const message = `${where}, unless it may pull anonymously: ECR Public then serves 1 pull a second for each address`;
    yield document.finding(at, { level: 'warning', message, rule, fix: cloud });
    return;
  }
  const edit =
    value.provider === undefined
      ? ({ kind: 'add-after', key: 'provider', value: cloud } as const)
      : ({ kind: 'set', to: cloud } as const);
  const certain = cloud === 'aws' ? { edit } : {};
  const message = `${where}: without it nobody signs in, and the registry refuses`;
  yield document.finding(at, { level: 'error', message, rule, fix: cloud, ...certain });
}

function* checkTls(document: ValuesDocument, { path, value, endpoint }: Checked): Iterable<Found> {
  if (value.insecure !== true) return;
  const at = [...path, 'insecure'];
  const message = `${formatPath(at)} must be false: ${endpoint.registry} serves TLS alone, and a token must not travel in the clear`;
  const edit = { kind: 'set', to: false } as const;
  yield document.finding(at, { level: 'error', message, rule: 'ecr-insecure', fix: 'false', edit });
}

// ecr-public, registry aliases: a letter first, single dashes and underscores between letters and digits.
const ALIAS = /^[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*$/;

/** `oci://public.ecr.aws/<alias>`: the alias and nothing else stands between host and repository. */
function* checkAlias(document: ValuesDocument, { path, endpoint }: Checked): Iterable<Found> {
  const at = [...path, 'endpoint'];
  const where = formatPath(at);
  const [alias = '', ...more] = endpoint.path.split('/');
  const shape = `oci://${endpoint.registry}/<public-registry-alias>`;
  const finding = (message: string) =>
    document.finding(at, { level: 'error', message: `${where} ${message}`, rule: 'ecr-public-alias' });
  if (alias === '') yield finding(`names no registry alias: write ${shape}`);
  else if (/^\d{12}$/.test(alias)) {
    yield finding(
      `holds an account where the registry alias belongs: write ${shape} (aws ecr-public describe-registries shows it)`,
    );
  } else if (!ALIAS.test(alias)) yield finding(`"${alias}" is no registry alias: write ${shape}`);
  if (more.length > 0) {
    const message = `${where} holds ${more.join('/')} behind the alias: it becomes part of the repository's name, which is right only if the repository is called that`;
    yield document.finding(at, { level: 'warning', message, rule: 'ecr-public-alias' });
  }
}

function publicToTheWorld(document: ValuesDocument, { path, endpoint }: Checked): Found {
  const at = [...path, 'endpoint'];
  const message = `${formatPath(at)}: whatever is pushed to ${endpoint.registry} is public to the world, so no workload may hold a Secret`;
  return document.finding(at, { level: 'warning', message, rule: 'ecr-public' });
}

/** Why a host that is none of ECR's was perhaps meant as one; a token never goes there. */
function nearEcr({ host, registry }: Endpoint): string | undefined {
  if (!/dkr[.-]ecr|ecr[.-]public|public[.-]ecr|\.ecr\.|amazonaws/.test(host)) return undefined;
  if (host !== registry) return 'ECR has no port';
  const match = /^(\w+)\.dkr[.-]ecr(?:-fips)?\.([a-z0-9-]+)\.([a-z0-9.-]+)$/.exec(host);
  if (match === null) {
    return 'private is <account-id>.dkr.ecr.<region>.amazonaws.com, public is public.ecr.aws';
  }
  const [, account = '', region = '', suffix = ''] = match;
  if (!/^\d{12}$/.test(account)) return `an account is 12 digits, not "${account}"`;
  return `"${region}.${suffix}" is no region with its domain, such as eu-west-1.amazonaws.com or cn-north-1.amazonaws.com.cn`;
}
