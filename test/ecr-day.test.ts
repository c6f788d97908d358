import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { FakeClock } from '@mural/core/testing';
import { type Hub, spokeBootstrap, startHub } from '@mural/hub';
import {
  CONFIG_MAPS,
  EVENTS,
  OCI_REPOSITORIES,
  type OCIRepository,
  SECRETS,
  WORKLOAD_DEPLOYMENTS,
  type WorkloadDeployment,
} from '@mural/kube';
import { createFakeKubeApi, type FakeKubeApi } from '@mural/kube/testing';
import { cloudCredentials, RegistryClient } from '@mural/oci';
import { applyBootstrap, type RunningSpoke, startSpoke } from '@mural/spoke';
import { afterEach, beforeEach, expect, it } from 'vitest';
import {
  type Aws,
  type Identity,
  type Instance,
  type PodIdentity,
  type PolicyDocument,
  type RecordedCall,
  startAws,
} from './fixtures/ecr/index.ts';
import { apply, configMap, deployment, everySpoke, manifestsProfile } from './support/objects.ts';
import { QuietTime } from './support/quiet.ts';
import { seededRandom } from './support/random.ts';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const STEP = 5 * SECOND;
const REPO = 'team/workloads';
const HALF_LIFE = 6 * HOUR;

interface Edge {
  readonly name: string;
  readonly cluster: FakeKubeApi;
  readonly spoke: RunningSpoke;
}

const random = seededRandom();
const trusted = getCACertificates('default');
let clock: FakeClock;
let time: QuietTime;
let aws: Aws;
let folder: string;
let hubApi: FakeKubeApi;
let hub: Hub;
let client: RegistryClient;
let edges: Edge[];
let instance: Instance;
let pod: PodIdentity;

const url = (): string => `oci://${aws.registryHost()}/${REPO}`;
const settings = () => ({ url: url(), interval: '10m', timeout: '60s', provider: 'aws' as const });

beforeEach(async () => {
  clock = new FakeClock(Date.UTC(2026, 5, 1));
  time = new QuietTime(clock);
  aws = await startAws({ clock });
  setDefaultCACertificates([...trusted, aws.ca]);
  aws.registries.private(aws.account, aws.region).create(REPO);
  folder = await mkdtemp(join(tmpdir(), 'mural-day-'));
  hubApi = createFakeKubeApi({ clock });
  edges = [];
  await time.calibrate();
});
afterEach(async () => {
  await Promise.all(edges.map(async ({ spoke }) => spoke.stop()));
  await hub.stop();
  await client.close();
  time.close();
  setDefaultCACertificates(trusted);
  await aws.close();
  await rm(folder, { recursive: true, force: true });
});

const READ = ['ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer'];
const WRITE = [
  'ecr:BatchGetImage',
  'ecr:BatchCheckLayerAvailability',
  'ecr:InitiateLayerUpload',
  'ecr:UploadLayerPart',
  'ecr:CompleteLayerUpload',
  'ecr:PutImage',
];

function policy(actions: readonly string[]): PolicyDocument {
  const Resource = `arn:aws:ecr:${aws.region}:${aws.account}:repository/${REPO}`;
  return {
    Version: '2012-10-17',
    Statement: [
      { Effect: 'Allow', Action: actions, Resource },
      { Effect: 'Allow', Action: 'ecr:GetAuthorizationToken', Resource: '*' },
    ],
  };
}

/** An identity by IRSA whose token is replaced every hour. */
async function irsa(name: string, actions: readonly string[]): Promise<Identity> {
  const issuer = await aws.oidcIssuer();
  const { arn: provider, url: issuedBy } = issuer.provider;
  const trustPolicy: PolicyDocument = {
    Version: '2012-10-17',
    Statement: [
      {
        Effect: 'Allow',
        Principal: { Federated: provider },
        Action: 'sts:AssumeRoleWithWebIdentity',
        Condition: { StringEquals: { [`${issuedBy}:aud`]: 'sts.amazonaws.com' } },
      },
    ],
  };
  const { arn } = aws.iam.createRole({ name, policies: [policy(actions)], trustPolicy });
  return await issuer.serviceAccount({
    namespace: 'mural-system',
    name: 'hue',
    roleArn: arn,
    lifetimeMs: 75 * MINUTE,
  });
}

async function startHubAs(who: Identity): Promise<void> {
  const environment = aws.environment(who);
  const registry = aws.registryHost();
  const credentials = cloudCredentials({ provider: 'aws', registry, environment, clock, random });
  client = new RegistryClient({ registry, credentials, environment, clock, random });
  hub = await startHub({
    client: hubApi,
    registries: [{ url: url(), client, putsPerSecond: 8 }],
    spokeRegistry: settings,
    clock,
    random,
  });
}

async function joinSpoke(name: string, who: Identity): Promise<void> {
  const cluster = createFakeKubeApi({ clock });
  await apply(hubApi, { apiVersion: 'mural.dev/v1alpha1', kind: 'Spoke', metadata: { name } });
  const secret = { name: `spoke-${name}-token`, namespace: 'mural-system' };
  const made = () => hubApi.stored(SECRETS).some(({ metadata }) => metadata.name === secret.name);
  await time.until(made, MINUTE);
  await hubApi.patch(SECRETS, secret, 'merge', { data: { token: Buffer.from('token').toString('base64') } });
  const server = { server: 'https://hub.example.org', ca: 'CA' };
  const objects = await spokeBootstrap({ client: hubApi, spoke: name, registry: settings(), hub: server });
  await applyBootstrap(cluster, objects);
  const spoke = await startSpoke({
    ...{ client: cluster, hub: { client: hubApi }, dataDir: join(folder, name), name },
    ...{ clock, random, environment: aws.environment(who) },
  });
  edges.push({ name, cluster, spoke });
}

/** What every spoke has, as one text. */
function values(): string {
  const of = ({ cluster }: Edge): string => {
    const found = cluster.stored(CONFIG_MAPS).find(({ metadata }) => metadata.name === 'app');
    return (found?.['data'] as { value?: string } | undefined)?.value ?? '';
  };
  return edges.map(of).join();
}

async function deliver(value: string, limitMs: number): Promise<void> {
  await apply(hubApi, manifestsProfile('app', configMap('app', { value })));
  await time.until(() => values() === edges.map(() => value).join(), limitMs, STEP);
}

/** Every status that was written, of what people look at. */
function watchStatuses(): Set<string> {
  const seen = new Set<string>();
  for (const api of [hubApi, ...edges.map(({ cluster }) => cluster)]) {
    api.intercept = ({ resource, subresource, body }) => {
      if (subresource !== 'status') return;
      if (resource !== OCI_REPOSITORIES && resource !== WORKLOAD_DEPLOYMENTS) return;
      const { status } = body as Partial<OCIRepository | WorkloadDeployment>;
      for (const { type, status: is, reason } of status?.conditions ?? []) {
        if (is !== 'True' || type !== 'Ready') seen.add(`${resource.kind} ${type} ${is} ${reason}`);
      }
    };
  }
  return seen;
}

/** Fails the day when an identity asks for a token while it waits for one already. */
function watchTokens(): string[] {
  const calls = aws.calls as RecordedCall[];
  const overlaps: string[] = [];
  const push = calls.push.bind(calls);
  calls.push = (...added) => {
    for (const call of added) {
      const same = (other: RecordedCall): boolean =>
        other.result === undefined && other.action === call.action && other.principal === call.principal;
      const isToken = call.plane === 'api' && call.action.endsWith(':GetAuthorizationToken');
      if (isToken && calls.some(same)) overlaps.push(`${call.principal ?? ''} at ${call.at}`);
    }
    return push(...added);
  };
  return overlaps;
}

/** Every warning that people were given as an event, with how often. */
function warnings(): string[] {
  return [hubApi, ...edges.map(({ cluster }) => cluster)].flatMap((api, index) =>
    api
      .stored(EVENTS)
      .filter(({ type }) => type === 'Warning')
      .map(({ reason, message, count }) => JSON.stringify([index, reason, message, count])),
  );
}

/** When an identity was given tokens. */
function tokensOf(role: string): number[] {
  return aws.calls
    .filter(({ action, plane }) => plane === 'api' && action.endsWith(':GetAuthorizationToken'))
    .filter(({ principal, result }) => result === 'ok' && principal?.includes(`/${role}/`) === true)
    .map(({ at }) => at);
}

/** Something of AWS that fails for a while. */
interface Outage {
  readonly until: number;
  readonly begin: () => void;
}

/**
 * Lets AWS fail now and then, and always when tokens are due: the metadata endpoints and STS for minutes,
 * ECR by throttling every call for seconds.
 */
class Trouble {
  readonly #started = clock.now();
  #outages: readonly Outage[] = [];
  #calmUntil = 0;
  /** How many there were. */
  count = 0;

  /** To be called after every step of the clock. */
  readonly step = (): void => {
    const now = clock.now();
    const rest = this.#outages.filter(({ until }) => until > now);
    const fresh = this.#fresh(now);
    if (fresh.length === 0 && rest.length === this.#outages.length) return;
    this.count += fresh.length;
    this.#outages = [...rest, ...fresh];
    aws.faults.clear();
    instance.setDown(false);
    pod.setDown(false);
    for (const { begin } of this.#outages) begin();
  };

  #fresh(now: number): readonly Outage[] {
    const fresh: Outage[] = [];
    const age = now - this.#started;
    const due =
      age > HOUR &&
      age % HALF_LIFE >= HALF_LIFE - 10 * MINUTE &&
      (age - STEP) % HALF_LIFE < HALF_LIFE - 10 * MINUTE;
    const minutes = due ? 20 : 2 + Math.floor(random() * 8);
    if (due || random() < 0.002) {
      const begin = (): void => {
        aws.faults.fail('sts:*', 10_000);
        instance.setDown(true);
        pod.setDown(true);
      };
      fresh.push({ until: now + minutes * MINUTE, begin });
    }
    // One after the other would be one long burst.
    if (random() < 0.006 && now > this.#calmUntil) {
      this.#calmUntil = now + MINUTE;
      const until = now + (1 + Math.floor(random() * 3)) * STEP;
      fresh.push({ until, begin: () => aws.faults.throttle('ecr:*', 10_000) });
    }
    return fresh;
  }
}

it(`a fleet has an uneventful day while tokens expire and AWS fails now and then (seed ${random.seed})`, async () => {
  await startHubAs(await irsa('hue', WRITE));
  const node = aws.iam.createRole({ name: 'node', policies: [policy(READ)] });
  const service = aws.iam.createRole({ name: 'pod', policies: [policy(READ)] });
  instance = await aws.instance(node.arn, { hopLimit: 2 });
  pod = await aws.podIdentity(service.arn);
  await joinSpoke('edge-irsa', await irsa('source', READ));
  await joinSpoke('edge-node', instance);
  await joinSpoke('edge-pod', pod);
  await apply(hubApi, everySpoke('all'), deployment('app', 'app', 'all'));
  await deliver('start', 20 * MINUTE);
  const seen = watchStatuses();
  const overlaps = watchTokens();
  const before = warnings();
  const trouble = new Trouble();
  for (let hour = 0; hour < 24; hour += 1) {
    await apply(hubApi, manifestsProfile('app', configMap('app', { value: `hour-${hour}` })));
    await time.pass(HOUR, STEP, trouble.step);
    expect(values()).toBe(edges.map(() => `hour-${hour}`).join());
  }
  expect(trouble.count).toBeGreaterThan(24);
  expect(warnings().filter((warning) => !before.includes(warning))).toEqual([]);
  expect([...seen].filter((line) => / False |Stalled|Retry|Failed/.test(line))).toEqual([]);
  expect(overlaps).toEqual([]);
  for (const role of ['hue', 'source', 'node', 'pod']) {
    const times = tokensOf(role);
    // The clock of the day is longer than three half lives, so that none gets by with fewer.
    expect([role, times.length >= 4]).toEqual([role, true]);
    const crowded = times.filter((at, index) => (times[index + 2] ?? Infinity) - at < HALF_LIFE);
    expect([role, crowded]).toEqual([role, []]);
  }
}, 180_000);
