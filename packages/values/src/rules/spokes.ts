import { isRecord } from '@mural/core';
import type { Endpoint } from '../address.ts';
import type { Found, ValuesDocument } from '../document.ts';
import {
  endpointOf,
  filled,
  formatPath,
  HUB_REGISTRY,
  lookup,
  type RegistryPlace,
  registriesOf,
  spokesOf,
} from './rule.ts';

// A DNS label: the name becomes part of tags, Secrets and service accounts.
const SPOKE_NAME = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** Names of spokes: DNS labels, each once. */
export function* checkSpokeNames(document: ValuesDocument): Iterable<Found> {
  const seen = new Set<string>();
  for (const { path, value } of spokesOf(document)) {
    const name = filled(value.name);
    if (name === undefined) continue;
    const at = [...path, 'name'];
    if (!SPOKE_NAME.test(name)) {
      const message = `${formatPath(at)}: "${name}" is not a name: lower-case letters, digits and "-", at most 63`;
      yield document.finding(at, { level: 'error', message, rule: 'spoke-name' });
    }
    if (seen.has(name)) {
      const message = `${formatPath(at)}: the spoke ${name} stands twice in the list`;
      yield document.finding(at, { level: 'error', message, rule: 'spoke-name' });
    }
    seen.add(name);
  }
}

interface Side {
  readonly endpoint: Endpoint;
  readonly value: Readonly<Record<string, unknown>>;
}

/** Whether each spoke reads what the hub writes. */
export function* checkSpokeRegistries(document: ValuesDocument): Iterable<Found> {
  const value = lookup(document.data, HUB_REGISTRY);
  if (isRecord(value) && value.enabled === false) return;
  const hubEndpoint = isRecord(value) ? endpointOf(value) : undefined;
  for (const place of registriesOf(document)) {
    if (place.spoke === undefined) continue;
    const endpoint = endpointOf(place.value);
    if (endpoint === undefined) yield* checkInherited(document, place);
    else if (isRecord(value) && hubEndpoint !== undefined) {
      yield* checkSame(document, place, { hub: { endpoint: hubEndpoint, value }, endpoint });
    } else if (lookup(value, ['endpoint']) === undefined && endpoint.ecr !== undefined) {
      const at = [...place.path, 'endpoint'];
      const message = `the spoke ${place.spoke} reads ${endpoint.registry}, and hue.ociRegistry.endpoint names no registry: hue writes the embedded one`;
      yield document.finding(at, { level: 'warning', message, rule: 'spoke-registry' });
    }
  }
}

/** A spoke without an endpoint reads what the hub writes, whatever else stands there. */
function* checkInherited(document: ValuesDocument, { path, value }: RegistryPlace): Iterable<Found> {
  if (value.endpoint !== undefined) return;
  const hub = lookup(document.data, HUB_REGISTRY);
  for (const key of ['repository', 'provider', 'insecure', 'ca']) {
    if (value[key] === undefined || (isRecord(hub) && hub[key] === value[key])) continue;
    const message = `${formatPath([...path, key])} is read only beside an endpoint: write ${formatPath([...path, 'endpoint'])} too, or take it out`;
    yield document.finding([...path, key], { level: 'warning', message, rule: 'spoke-registry' }, 'key');
  }
}

function* checkSame(
  document: ValuesDocument,
  { path, value, spoke = '' }: RegistryPlace,
  { hub, endpoint }: { readonly hub: Side; readonly endpoint: Endpoint },
): Iterable<Found> {
  const rule = 'spoke-registry';
  if (!isSameRegistry(endpoint, hub.endpoint)) {
    const message = `the spoke ${spoke} reads ${endpoint.registry}, and hue writes ${hub.endpoint.registry}: right only where that is a mirror of this, or something copies the one to the other`;
    yield document.finding([...path, 'endpoint'], { level: 'warning', message, rule });
    return;
  }
  if (endpoint.path !== hub.endpoint.path) {
    const message = `the spoke ${spoke} reads oci://${endpoint.registry}/${endpoint.path}, and hue writes oci://${hub.endpoint.registry}/${hub.endpoint.path}: it would never find its artifacts`;
    yield document.finding([...path, 'endpoint'], { level: 'error', message, rule });
  }
  const [own, written] = [filled(value.repository), filled(hub.value.repository)];
  if (own !== undefined && written !== undefined && own !== written) {
    const message = `the spoke ${spoke} reads the repository ${own}, and hue writes ${written} (hue.ociRegistry.repository): it would never find its artifacts`;
    yield document.finding([...path, 'repository'], { level: 'error', message, rule });
  }
  if ((value.insecure ?? false) !== (hub.value.insecure ?? false) && endpoint.ecr === undefined) {
    const message = `${formatPath([...path, 'insecure'])} differs from hue.ociRegistry.insecure, and it is the same registry`;
    const at = value.insecure === undefined ? 'endpoint' : 'insecure';
    yield document.finding([...path, at], { level: 'error', message, rule });
  }
  yield* checkSignIn(document, { path, value, spoke }, hub);
}

/** Whether two addresses lead to one registry: ECR gives a registry several hosts (FIPS, dual-stack). */
function isSameRegistry(a: Endpoint, b: Endpoint): boolean {
  if (a.registry === b.registry) return true;
  if (a.ecr?.kind !== 'private' || b.ecr?.kind !== 'private')
    return a.ecr?.kind === 'public' && b.ecr?.kind === 'public';
  return a.ecr.account === b.ecr.account && a.ecr.region === b.ecr.region;
}

/** The spoke of a registry that the hub signs in to signs in the same way, if with another user. */
function* checkSignIn(document: ValuesDocument, place: RegistryPlace, hub: Side): Iterable<Found> {
  const { path, value } = place;
  const [own, theirs] = [providerOf(value), providerOf(hub.value)];
  // That ECR needs the provider aws is a finding of its own.
  if (own !== theirs && hub.endpoint.ecr === undefined) {
    const message = `${formatPath([...path, 'provider'])} is ${own}, and hue.ociRegistry.provider is ${theirs} for the same registry`;
    const at = value.provider === undefined ? 'endpoint' : 'provider';
    yield document.finding([...path, at], { level: 'error', message, rule: 'spoke-registry' });
  }
  if (
    theirs === 'generic' &&
    isRecord(hub.value.basicAuth) &&
    own === 'generic' &&
    value.basicAuth === undefined
  ) {
    const where = formatPath([...path, 'basicAuth']);
    const message = `${where} is missing where hue.ociRegistry has one: the spoke ${place.spoke ?? ''} would pull anonymously`;
    yield document.finding([...path, 'endpoint'], { level: 'warning', message, rule: 'spoke-basic-auth' });
  }
}

function providerOf({ provider }: Readonly<Record<string, unknown>>): string {
  return typeof provider === 'string' ? provider : 'generic';
}
