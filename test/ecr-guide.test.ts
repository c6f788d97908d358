import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { eventually } from '@mural/core/testing';
import type { KubeClient, UnstructuredObject } from '@mural/kube';
import { parseValues, permissionPolicy, trustPolicy, type Values } from '@mural/values';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fill, SNIPPETS, wholeFile } from '../packages/values/src/testing/seed.ts';
import { type Aws, type Identity, type OidcIssuer, startAws } from './fixtures/ecr/index.ts';
import { deploy, release, type SeedFleet, sourcesOf, startSeedFleet } from './support/ecr-seed.ts';
import { cleanUp, mural, ROOT, startHub, startSpoke, temporaryFolder } from './support/mural.ts';
import { apply } from './support/objects.ts';

const GUIDE = readFileSync(join(ROOT, 'docs/ecr.md'), 'utf8');

/** The messages of the table of what goes wrong: the first code of each row, `…` for anything. */
const MESSAGES = (GUIDE.split('## What goes wrong')[1] ?? '')
  .split('\n## ')[0]
  ?.split('\n')
  .flatMap((line) => /^\| `([^`]+)`/.exec(line)?.[1] ?? []);

const shown = new Set<string>();

/** The one message of the guide that begins like this, as an expression. */
function message(beginning: string): RegExp {
  const found = MESSAGES?.filter((text) => text.includes(beginning)) ?? [];
  expect(found, `messages of the guide with "${beginning}"`).toHaveLength(1);
  shown.add(found[0] ?? '');
  const parts = (found[0] ?? '').split('…').map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(parts.join('.*'));
}

let aws: Aws;
let folder: string;
beforeAll(async () => {
  aws = await startAws({ region: 'eu-west-1' });
  folder = await temporaryFolder();
});
afterAll(async () => {
  await cleanUp();
  await aws.close();
});

async function lint(text: string): Promise<string> {
  await writeFile(join(folder, 'values.yaml'), text);
  const { code, stdout } = await mural(['values', 'lint', 'values.yaml'], { cwd: folder });
  expect(code).toBe(1);
  return stdout;
}

it('the values of the guide are valid, filled in', async () => {
  const [, yaml = ''] = /```yaml\n(hue:[^]*?)```/.exec(GUIDE) ?? [];
  const filled = fill(yaml, { '<push-role>': 'push', '<pull-role>': 'pull' });
  const { values, findings } = parseValues(filled, 'docs/ecr.md');
  expect(findings).toEqual([]);
  expect(values.fleetConfig.spokes[1]?.ociRegistry?.endpoint).toBe(values.hue.ociRegistry.endpoint);
});

describe('what goes wrong in the values', () => {
  it('shows as the guide says', async () => {
    const hue = fill(SNIPPETS.huePrivate);
    expect(await lint(SNIPPETS.huePrivate)).toMatch(message('still holds …'));
    const other = hue.replace('mural-workloads', 'workloads') + fill(SNIPPETS.spokesPrivate);
    expect(await lint(other)).toMatch(message('reads the repository'));
    const account = fill(SNIPPETS.hueBasicAuth).split('\n').slice(2).join('\n');
    expect(await lint(hue + account)).toMatch(message('basicAuth must be removed'));
  });
});

describe('what goes wrong in the account', () => {
  let values: Values;
  let issuer: OidcIssuer;
  let role: string;
  let policy: string;

  beforeAll(async () => {
    const text = wholeFile('private');
    values = parseValues(text, 'values.yaml').values;
    await writeFile(join(folder, 'ecr.yaml'), text);
    issuer = await aws.oidcIssuer();
    policy = JSON.stringify(permissionPolicy(values, { role: 'push-and-pull' }));
    const trust = trustPolicy(values, {
      ...{ hubIssuer: issuer.issuer, spokeIssuers: {}, spokeNamespaces: {} },
      ...{ namespace: 'mural-system', role: 'push-and-pull' },
    });
    role = aws.iam.createRole({
      name: 'mural',
      policies: [policy],
      trustPolicy: JSON.stringify(trust),
    }).arn;
  });

  const pod = async (more: { namespace?: string; audience?: string } = {}): Promise<Identity> =>
    issuer.serviceAccount({ namespace: 'mural-system', name: 'hue', roleArn: role, ...more });

  async function preflight(who: Identity | undefined, env: NodeJS.ProcessEnv = {}): Promise<string> {
    const { code, stdout } = await mural(['ecr', 'preflight', '--values', 'ecr.yaml'], {
      cwd: folder,
      env: { ...aws.environment(who), ...env },
    });
    expect(code).toBe(1);
    return stdout;
  }

  it('shows as the guide says', async () => {
    const registry = aws.registries.private(aws.account, 'eu-west-1');
    expect(await preflight(await pod())).toMatch(message('does not exist'));
    registry.create('team/mural-workloads');
    aws.iam.setPolicies(role, [policy.replace('"ecr:PutImage",', '')]);
    expect(await preflight(await pod())).toMatch(message('ecr:PutImage action'));
    aws.iam.setPolicies(role, [policy]);
    expect(await preflight(await pod({ namespace: 'mural' }))).toMatch(message('Not authorized to perform'));
    expect(await preflight(await pod({ audience: 'other' }))).toMatch(message('Incorrect token audience'));
    expect(await preflight(undefined)).toMatch(message('fail  identity  … there is no AWS identity'));
  }, 60_000);

  it('shows as the guide says on the way there', async () => {
    const ca = Object.fromEntries(['NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE'].map((name) => [name, undefined]));
    expect(await preflight(await pod(), ca)).toMatch(message('first certificate'));
    const nowhere = { HTTPS_PROXY: 'http://127.0.0.1:1', https_proxy: 'http://127.0.0.1:1' };
    expect(await preflight(await pod(), nowhere)).toMatch(message('ECONNREFUSED'));
    const node = aws.iam.createRole({ name: 'node', policies: [policy] });
    const far = await aws.instance(node.arn, { hopLimit: 1 });
    expect(await preflight(far)).toMatch(message('hop limit of 1'));
  }, 60_000);
});

/** Waits until the HelmRelease says this. */
async function released(client: KubeClient, words: RegExp): Promise<void> {
  const resource = await client.resourceFor('helm.toolkit.fluxcd.io/v2', 'HelmRelease');
  const ref = { name: 'mural', namespace: 'mural-system' };
  await eventually(async () => {
    const object = resource && (await client.find<UnstructuredObject>(resource, ref));
    return words.test(JSON.stringify(object?.['status']));
  }, 40_000);
}

describe('what goes wrong in the fleet', () => {
  let fleet: SeedFleet;
  const zot = { zot: { enabled: false } };

  beforeAll(async () => {
    fleet = await startSeedFleet({ kind: 'private', place: 'EKS', roles: 'one role' });
  }, 60_000);
  afterAll(async () => fleet.close());

  it('shows at a spoke without an identity, and in the release that would end the default registry', async () => {
    const { hub } = fleet;
    await fleet.spoke.stop();
    const poor = await startSpoke(hub, 'spoke-1', { env: fleet.aws.environment() });
    await apply(hub.client, release(fleet.values(zot)));
    const words = MESSAGES?.find((text) => text === 'there is no AWS identity to use') ?? '';
    shown.add(words);
    await eventually(async () => {
      const sources = await sourcesOf(poor);
      return sources.some(({ status }) => JSON.stringify(status?.conditions ?? []).includes(words));
    }, 40_000);
    await released(hub.client, message('still needed by spoke-1'));
  }, 90_000);

  it('shows when a spoke is there that the values no longer name', async () => {
    const hub = await startHub({ env: fleet.aws.environment() });
    await apply(hub.client, release({ fleetConfig: { spokes: [{ name: 'hub' }, { name: 'spoke-9' }] } }));
    await released(hub.client, /"True"/);
    await apply(hub.client, release(fleet.values(zot)));
    await released(hub.client, message('still needed by spoke-9 ('));
  }, 90_000);

  it('shows when tags are immutable', async () => {
    const { aws: of, hub } = fleet;
    of.registries.private(of.account, of.region).repository(fleet.repository).mutability = 'IMMUTABLE';
    await deploy(fleet, 'red');
    await eventually(async () => {
      const log = await hub.client.raw('/api/v1/namespaces/mural-system/pods/hue-0/log');
      return message('Tags of this repository').test(log);
    }, 40_000);
  }, 90_000);
});

it('every message of the guide was shown', () => {
  expect([...(MESSAGES ?? [])].sort()).toEqual([...shown].sort());
});
