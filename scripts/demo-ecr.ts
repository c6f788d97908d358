import { once } from 'node:events';
import { beforeTheTask } from './demo-ecr/before.ts';
import { applyPrivate, editForPrivate, prerequisitesOfPrivate } from './demo-ecr/private.ts';
import { moveToPublic, removeDefault } from './demo-ecr/public.ts';
import { Shell } from './demo-ecr/shell.ts';
import { Story } from './demo-ecr/story.ts';
import { SPOKE, World } from './demo-ecr/world.ts';

/**
 * `npm run demo:ecr`: a fleet moves from the default registry to Amazon ECR, private and then public,
 * against an emulator of AWS on this machine. Each step is printed, run, and checked. It ends by
 * itself, with 0 if everything held; with `--keep` it then goes on until Ctrl-C. The clusters are on EKS,
 * with IRSA; with `--iaas` on EC2 instances, with their profile. All it keeps is in a temporary folder,
 * which it removes.
 */
const TIMEOUT_MS = 180_000;
const place = process.argv.includes('--iaas') ? 'iaas' : 'eks';
const keep = process.argv.includes('--keep');
const stopping = new AbortController();
const story = new Story();
let world: World | undefined;

for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(name, () => {
    if (stopping.signal.aborted) world?.kill();
    stopping.abort();
  });
}

async function play(signal: AbortSignal): Promise<void> {
  console.log(
    'Amazon ECR in the place of the default registry, on an emulator of AWS: no account is needed.',
  );
  console.log('Starting the emulator, a hub and a spoke …');
  world = await World.create(place);
  const { aws, folder } = world;
  const operator = aws.iam.createUser({
    name: 'operator',
    policies: [
      {
        Version: '2012-10-17',
        Statement: [
          { Effect: 'Allow', Action: ['ecr:*', 'ecr-public:*', 'sts:GetServiceBearerToken'], Resource: '*' },
        ],
      },
    ],
  });
  await world.startHub(signal);
  const environment = world.operator(operator.accessKey);
  const [{ shell, standIns }] = await Promise.all([
    Shell.open(story, { folder, environment, signal }),
    world.startSpoke(signal),
  ]);
  console.log(`
  folder    ${folder} (removed at the end)
  AWS       account ${aws.account}, region ${aws.region}; its host names are reached through ${aws.proxy}
  commands  run as they are printed, with HTTPS_PROXY and the emulator's CA in their environment`);
  if (standIns.length > 0) {
    console.log(
      `  stand-ins ${standIns.join(' and ')}: not on this machine; a small program of the demo makes the same calls`,
    );
  }
  const stage = { story, world, shell, signal };
  await beforeTheTask(stage);
  await editForPrivate(stage);
  await prerequisitesOfPrivate(stage);
  await applyPrivate(stage);
  await moveToPublic(stage);
  await removeDefault(stage);
  await summarise(world);
  if (keep) await stay(world, environment);
}

async function summarise(of: World): Promise<void> {
  const { made, failed } = await of.stopLooking();
  story.chapter('Summary');
  story.check(
    `${SPOKE} had its workload at each of ${made} looks while the fleet moved twice`,
    made > 0 && failed.length === 0,
    `It did not ${failed.length} times: ${failed.slice(0, 3).join('; ')}`,
  );
  const tokens = of.aws.calls.filter(({ action }) => action.endsWith(':GetAuthorizationToken')).length;
  const puts = of.aws.calls.filter(({ action }) => action.endsWith(':PutImage')).length;
  const refused = of.aws.refusedHosts.length;
  story.say(
    `AWS saw ${of.aws.calls.length} calls, ${tokens} of them for tokens of a registry and ${puts} of PutImage.`,
  );
  story.check('no request went to a host that is not one of AWS', refused === 0);
  console.log(`\n${story.checks} checks passed in ${story.seconds.toFixed(1)} s.`);
}

async function stay({ folder, hub }: World, environment: NodeJS.ProcessEnv): Promise<void> {
  const names = [
    'KUBECONFIG',
    ...Object.keys(environment).filter((name) =>
      /^(AWS_|HTTPS_PROXY|NO_PROXY|SSL_CERT_FILE|NODE_EXTRA)/.test(name),
    ),
  ];
  console.log(`\nAll of it still runs. In another terminal:\n\n  cd ${folder}`);
  for (const name of names) console.log(`  export ${name}='${environment[name] ?? ''}'`);
  console.log(`\nThe console is ${hub['console'] ?? ''}. Ctrl-C stops all of it.`);
  if (!stopping.signal.aborted) await once(stopping.signal, 'abort');
}

let exitCode = 0;
const timeout = new AbortController();
const timer = setTimeout(() => timeout.abort(), TIMEOUT_MS);
try {
  await play(keep ? stopping.signal : AbortSignal.any([stopping.signal, timeout.signal]));
} catch (error) {
  exitCode = 1;
  if (!stopping.signal.aborted) {
    const late = timeout.signal.aborted ? `it took longer than ${TIMEOUT_MS / 1000} s. ` : '';
    const logs = (await world?.logs()) ?? '';
    console.error(
      `\nThe demo failed: ${late}${error instanceof Error ? error.message : String(error)}\n\n${logs}`,
    );
  }
}
clearTimeout(timer);
if (stopping.signal.aborted) console.log('\nStopping …');
await world?.close();
process.exit(exitCode);
