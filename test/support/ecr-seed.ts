import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { eventually } from '@mural/core/testing';
import {
  CONFIG_MAPS,
  type KubeClient,
  OCI_REPOSITORIES,
  type OCIRepository,
  type UnstructuredObject,
} from '@mural/kube';
import { type EcrRole, parseValues, permissionPolicy, trustPolicy } from '@mural/values';
import { parse, stringify } from 'yaml';
import { fill, SNIPPETS } from '../../packages/values/src/testing/seed.ts';
import { type Aws, type Identity, startAws } from '../fixtures/ecr/index.ts';
import { type Hub, type SpokeProcess, startHub, startSpoke, temporaryFolder } from './mural.ts';
import { apply, configMap, deployment, everySpoke, manifestsProfile } from './objects.ts';

/** A registry of ECR as the guide for it distinguishes them. */
export type Kind = 'private' | 'public';
/** Where the clusters run: by IRSA, or with an instance profile. */
export type Place = 'EKS' | 'IaaS';

/** Whether hue and source-controller share a role, as in the guide, or each has one of its own. */
export type Roles = 'one role' | 'a role for each account';

/** How the fleet of the guide is set up. */
export interface Setting {
  readonly kind: Kind;
  readonly place: Place;
  readonly roles: Roles;
}

export type Tree = Record<string, unknown>;

/** What stands in the snippets of the guide: see `packages/values/src/testing/seed.ts`. */
const REGION = 'eu-west-1';
const ROLE = 'mural';
const REPOSITORY = 'mural-workloads';
/** The values before: the default registry, and the fleet of the guide. */
const DEFAULTS = 'fleetConfig:\n  spokes: [{ name: hub-as-spoke }, { name: spoke-1 }]\n';

/** The fleet of the guide, against the emulator: a hub that is its own spoke, and spoke-1. */
export interface SeedFleet {
  readonly aws: Aws;
  readonly kind: Kind;
  readonly hub: Hub;
  readonly spoke: SpokeProcess;
  /** `oci://` address of the repository in ECR. */
  readonly url: string;
  /** Name of the repository as the API of ECR takes it. */
  readonly repository: string;
  /** The values of the guide as a tree, with these changes at the top level. */
  values(more?: Tree): Tree;
  close(): Promise<void>;
}

/** Starts the fleet on the default registry, with everything that the guide asks for done in the account. */
export async function startSeedFleet(setting: Setting): Promise<SeedFleet> {
  const { kind } = setting;
  const aws = await startAws({ region: REGION });
  const registry =
    kind === 'private' ? aws.registries.private(aws.account, REGION) : aws.registries.public(aws.account);
  const repository = kind === 'private' ? `team/${REPOSITORY}` : REPOSITORY;
  registry.create(repository);
  const values = (more: Tree = {}): Tree => valuesOf(aws, setting, more);
  const identities = await identitiesOf(aws, setting, values());
  const file = join(await temporaryFolder(), 'values.yaml');
  await writeFile(file, DEFAULTS);
  const hub = await startHub({ args: ['--values', file], env: aws.environment(identities.hub) });
  const spoke = await startSpoke(hub, 'spoke-1', { env: aws.environment(identities.spoke) });
  return {
    ...{ aws, kind, hub, spoke, repository, values },
    url: `oci://${registry.identity.uri}/${repository}`,
    close: async () => aws.close(),
  };
}

function valuesOf(aws: Aws, { kind, place, roles }: Setting, more: Tree): Tree {
  const alias = aws.registries.aliasOf(aws.account);
  const tree = (text: string): Tree => parse(fill(text, { '<public-registry-alias>': alias })) as Tree;
  const hue = {
    ...(tree(kind === 'private' ? SNIPPETS.huePrivate : SNIPPETS.huePublic)['hue'] as Tree),
    ...(place === 'EKS' ? (tree(SNIPPETS.hueAccount)['hue'] as Tree) : {}),
  };
  const { spokes } = tree(kind === 'private' ? SNIPPETS.spokesPrivate : SNIPPETS.spokesPublic)[
    'fleetConfig'
  ] as {
    readonly spokes: readonly Tree[];
  };
  const source = SNIPPETS.sourceAccount.replace('<iam-role-name>', rolesOf(roles).pull);
  const accounts = place === 'EKS' ? tree(source) : {};
  const every = ['hub-as-spoke', 'spoke-1'].map((name) => ({ ...spokes[0], name }));
  return { hue, ...accounts, fleetConfig: { spokes: every }, ...more };
}

/** Names of the roles that push and that pull. */
function rolesOf(roles: Roles): { readonly push: string; readonly pull: string } {
  return { push: ROLE, pull: roles === 'one role' ? ROLE : `${ROLE}-pull` };
}

/** The roles of the values, with the permissions and the trust that are printed for these. */
async function identitiesOf(
  aws: Aws,
  { place, roles }: Setting,
  tree: Tree,
): Promise<{ readonly hub: Identity; readonly spoke: Identity }> {
  const { values } = parseValues(stringify(tree), 'values.yaml');
  const { account } = aws;
  const [hub, spoke] = [await aws.oidcIssuer(), await aws.oidcIssuer()];
  const role = (name: string, does: EcrRole): string => {
    const policies = [JSON.stringify(permissionPolicy(values, { role: does, account }))];
    if (place === 'IaaS') return aws.iam.createRole({ name, policies }).arn;
    const trust = trustPolicy(values, {
      hubIssuer: hub.issuer,
      spokeIssuers: does === 'push' ? {} : { 'spoke-1': spoke.issuer },
      ...{ namespace: 'mural-system', spokeNamespaces: {}, role: does, account },
    });
    return aws.iam.createRole({ name, policies, trustPolicy: JSON.stringify(trust) }).arn;
  };
  const { push, pull } = rolesOf(roles);
  const shared = push === pull;
  const pushing = role(push, shared ? 'push-and-pull' : 'push');
  const pulling = shared ? pushing : role(pull, 'pull');
  if (place === 'IaaS') return { hub: await aws.instance(pushing), spoke: await aws.instance(pulling) };
  const namespace = 'mural-system';
  return {
    hub: await hub.serviceAccount({ namespace, name: 'hue', roleArn: pushing }),
    spoke: await spoke.serviceAccount({ namespace, name: 'source-controller', roleArn: pulling }),
  };
}

/** The manifest of a Flux-managed installation. */
export function release(values: Tree): UnstructuredObject {
  return {
    apiVersion: 'helm.toolkit.fluxcd.io/v2',
    kind: 'HelmRelease',
    metadata: { name: 'mural', namespace: 'mural-system' },
    spec: { interval: '1h', chartRef: { kind: 'OCIRepository', name: 'mural' }, values },
  };
}

/** The sources of a cluster. */
export async function sourcesOf({
  client,
}: {
  readonly client: KubeClient;
}): Promise<readonly OCIRepository[]> {
  const { items } = await client.list<OCIRepository>(OCI_REPOSITORIES, { namespace: 'mural-system' });
  return items;
}

/** Waits until every source of hub and spoke reads this repository and is Ready. */
export async function reading({ hub, spoke }: SeedFleet, url: string): Promise<readonly OCIRepository[]> {
  return eventually(async () => {
    const sources = (await Promise.all([hub, spoke].map(sourcesOf))).flat();
    const right = sources.filter(
      ({ spec, status }) =>
        spec.url === url &&
        status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True'),
    );
    return sources.length > 2 && right.length === sources.length && sources;
  }, 40_000);
}

/** Puts the workload of the fleet there, or changes it. */
export async function deploy({ hub }: Pick<SeedFleet, 'hub'>, color: string): Promise<void> {
  await apply(
    hub.client,
    manifestsProfile('colors', configMap('colors', { color })),
    everySpoke('all'),
    deployment('colors', 'colors', 'all'),
  );
}

/** What the workload says on a cluster; `undefined` when it is not there. */
export async function colorOn({ client }: { readonly client: KubeClient }): Promise<string | undefined> {
  const map = await client.find<UnstructuredObject>(CONFIG_MAPS, { name: 'colors', namespace: 'default' });
  return (map?.['data'] as { readonly color?: string } | undefined)?.color;
}

/** Waits for the workload on hub and spoke. */
export async function arrived({ hub, spoke }: SeedFleet, color: string): Promise<void> {
  await eventually(async () => {
    const colors = await Promise.all([hub, spoke].map(colorOn));
    return colors.every((one) => one === color);
  }, 30_000);
}

/** Looks without a pause whether a spoke has its workload, until it is told to stop. */
export function watchWorkload(spoke: SpokeProcess): () => Promise<{ looks: number; without: number }> {
  const seen = { looks: 0, without: 0 };
  let stopped = false as boolean;
  const look = async (): Promise<void> => {
    while (!stopped) {
      seen.looks += 1;
      if ((await colorOn(spoke)) === undefined) seen.without += 1;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const looking = look();
  return async () => {
    stopped = true;
    await looking;
    return seen;
  };
}

/** Whether something listens at a URL's port. */
export async function isOpen(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port) });
  const { promise, resolve } = Promise.withResolvers<boolean>();
  socket.once('connect', () => resolve(true));
  socket.once('error', () => resolve(false));
  const open = await promise;
  socket.destroy();
  return open;
}

/** Digests of what the sources of hub and spoke hold. */
export function digestsOf(sources: readonly OCIRepository[]): string[] {
  return sources.map(({ status }) => /sha256:[0-9a-f]{64}/.exec(status?.artifact?.revision ?? '')?.[0] ?? '');
}
