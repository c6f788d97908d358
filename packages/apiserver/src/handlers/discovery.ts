import type { Api } from '../api.ts';
import type { DocumentAnswer } from '../http/answer.ts';
import type { ApiResource, Subresource } from '../resources/types.ts';
import { groupVersion } from '../resources/types.ts';

/** The version of Kubernetes that this server behaves as. */
export const VERSION = { major: '1', minor: '36', gitVersion: 'v1.36.3+mural' } as const;

/** `/version`. */
export function versionInfo(): DocumentAnswer {
  return document({
    ...VERSION,
    emulationMajor: VERSION.major,
    emulationMinor: VERSION.minor,
    minCompatibilityMajor: '1',
    minCompatibilityMinor: '35',
    gitCommit: '0000000000000000000000000000000000000000',
    gitTreeState: 'clean',
    buildDate: '2026-01-01T00:00:00Z',
    goVersion: 'go1.26',
    compiler: 'gc',
    platform: 'linux/amd64',
  });
}

/** Answers the paths of discovery; `undefined` for any other. */
export function discovery(api: Api, path: string, accept: string): DocumentAnswer | undefined {
  const [root, group, version, ...rest] = path.split('/').filter((segment) => segment !== '');
  if (rest.length > 0) return undefined;
  const all = api.resources.all();
  if (root === 'api' && version === undefined) {
    if (group !== undefined) return group === 'v1' ? resourceList(all, '', 'v1') : undefined;
    return aggregated(accept) ? aggregate(all, (one) => one === '', accept) : coreVersions();
  }
  if (root !== 'apis') return undefined;
  if (group === undefined) {
    return aggregated(accept) ? aggregate(all, (one) => one !== '', accept) : groupList(all);
  }
  const served = all.filter((resource) => resource.group === group);
  if (served.length === 0 || group === '') return undefined;
  if (version === undefined) return document(groupDocument(group, served, true));
  return resourceList(served, group, version);
}

function document(content: object, contentType?: string): DocumentAnswer {
  const headers = contentType === undefined ? {} : { headers: { 'Content-Type': contentType } };
  return { type: 'document', status: 200, document: content, ...headers };
}

function coreVersions(): DocumentAnswer {
  return document({ kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] });
}

function versionsOf(resources: readonly ApiResource[]): string[] {
  return [...new Set(resources.map((resource) => resource.version))];
}

function groupList(all: readonly ApiResource[]): DocumentAnswer {
  const groups = byGroup(all, (group) => group !== '');
  return document({
    kind: 'APIGroupList',
    apiVersion: 'v1',
    groups: [...groups].map(([group, resources]) => groupDocument(group, resources, false)),
  });
}

function byGroup(
  all: readonly ApiResource[],
  wanted: (group: string) => boolean,
): ReadonlyMap<string, readonly ApiResource[]> {
  const groups = new Map<string, ApiResource[]>();
  for (const resource of all) {
    if (!wanted(resource.group)) continue;
    const known = groups.get(resource.group);
    if (known === undefined) groups.set(resource.group, [resource]);
    else known.push(resource);
  }
  return groups;
}

function groupDocument(group: string, resources: readonly ApiResource[], alone: boolean): object {
  const versions = versionsOf(resources).map((version) => ({ groupVersion: `${group}/${version}`, version }));
  return {
    ...(alone ? { kind: 'APIGroup', apiVersion: 'v1' } : {}),
    name: group,
    versions,
    preferredVersion: versions[0],
  };
}

function resourceList(
  all: readonly ApiResource[],
  group: string,
  version: string,
): DocumentAnswer | undefined {
  const served = all.filter((resource) => resource.group === group && resource.version === version);
  if (served.length === 0) return undefined;
  return document({
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion: group === '' ? version : `${group}/${version}`,
    resources: served.flatMap(listed),
  });
}

function listed(resource: ApiResource): object[] {
  const main = {
    name: resource.plural,
    singularName: resource.singular,
    namespaced: resource.namespaced,
    kind: resource.kind,
    verbs: resource.verbs,
    ...(resource.shortNames.length > 0 ? { shortNames: resource.shortNames } : {}),
    ...(resource.categories.length > 0 ? { categories: resource.categories } : {}),
    ...(resource.verbs.includes('watch') ? { storageVersionHash: storageHash(resource) } : {}),
  };
  const subs = [...resource.subresources.values()].map((sub) => ({
    name: `${resource.plural}/${sub.name}`,
    singularName: '',
    namespaced: resource.namespaced,
    kind: sub.kind,
    verbs: sub.verbs,
    ...(sub.group === undefined ? {} : { group: sub.group }),
    ...(sub.version === undefined ? {} : { version: sub.version }),
  }));
  return [main, ...subs];
}

/** Any text that is the same for the same storage; clients compare it and nothing else. */
function storageHash(resource: ApiResource): string {
  return Buffer.from(`${resource.storage}/${resource.version}`).toString('base64').slice(0, 12);
}

const AGGREGATED =
  /application\/json;(?=[^,]*\bas=APIGroupDiscoveryList\b)(?=[^,]*\bg=apidiscovery\.k8s\.io\b)(?=[^,]*\bv=(v2|v2beta1)\b)/;

function aggregated(accept: string): boolean {
  return AGGREGATED.test(accept);
}

/** All groups in one document (`apidiscovery.k8s.io/v2`). */
function aggregate(
  all: readonly ApiResource[],
  wanted: (group: string) => boolean,
  accept: string,
): DocumentAnswer {
  const version = AGGREGATED.exec(accept)?.[1] ?? 'v2';
  const items = [...byGroup(all, wanted)].map(([group, resources]) => ({
    metadata: { ...(group === '' ? {} : { name: group }), creationTimestamp: null },
    versions: versionsOf(resources).map((one) => ({
      version: one,
      resources: resources.filter((resource) => resource.version === one).map(aggregatedResource),
      freshness: 'Current',
    })),
  }));
  const content = {
    kind: 'APIGroupDiscoveryList',
    apiVersion: `apidiscovery.k8s.io/${version}`,
    metadata: {},
    items,
  };
  return document(content, `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`);
}

function aggregatedResource(resource: ApiResource): object {
  const subresources = [...resource.subresources.values()].map((sub) => ({
    subresource: sub.name,
    responseKind: responseKind(resource, sub),
    verbs: sub.verbs,
  }));
  return {
    resource: resource.plural,
    responseKind: { group: resource.group, version: resource.version, kind: resource.kind },
    scope: resource.namespaced ? 'Namespaced' : 'Cluster',
    singularResource: resource.singular,
    verbs: resource.verbs,
    ...(resource.shortNames.length > 0 ? { shortNames: resource.shortNames } : {}),
    ...(resource.categories.length > 0 ? { categories: resource.categories } : {}),
    ...(subresources.length > 0 ? { subresources } : {}),
  };
}

function responseKind(resource: ApiResource, sub: Subresource): object {
  return { group: sub.group ?? resource.group, version: sub.version ?? resource.version, kind: sub.kind };
}

/** The paths that `GET /` lists. */
export function rootPaths(api: Api): DocumentAnswer {
  const versions = new Set(
    api.resources
      .all()
      .filter((one) => one.group !== '')
      .map(groupVersion),
  );
  const paths = ['/api', '/api/v1', '/apis', ...[...versions].map((one) => `/apis/${one}`)];
  return document({
    paths: [...paths, '/healthz', '/livez', '/openapi/v2', '/openapi/v3', '/readyz', '/version'],
  });
}
