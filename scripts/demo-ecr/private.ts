import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { update } from './before.ts';
import { type Edit, editValues, excerpt, RELEASE, VALUES, writeRelease } from './files.ts';
import type { Stage } from './stage.ts';
import { validate } from './validate.ts';
import { NAMES, SPOKE, type World } from './world.ts';

const SPOKES = ['hub-as-spoke', SPOKE] as const;
const ROLE = 'eks.amazonaws.com/role-arn';
const HUE = ['hue', 'ociRegistry'] as const;
const spoke = (name: string) => ['fleetConfig', 'spokes', name, 'ociRegistry'] as const;

/** Address of the namespace of repositories in the private registry. */
function endpointOf({ aws }: World): string {
  return `oci://${aws.registryHost()}/${NAMES.namespace}`;
}

/** The edits of the values file, step by step. */
export async function editForPrivate(stage: Stage): Promise<void> {
  const { story, world, shell } = stage;
  const { folder } = world;
  const edit = async (...edits: readonly Edit[]) => editValues(folder, VALUES, edits);
  story.chapter('Enablement: the values of ECR Private');
  story.step('Open the Helm values file in a text editor');
  story.command(`vi ${VALUES}`);
  story.say('(Here the demo edits the file itself.)');

  story.step('Configure Hue to push OCI artifacts to ECR');
  const endpoint = endpointOf(world);
  const registry = { repository: NAMES.repository, insecure: false, provider: 'aws' };
  let text = await edit(
    { path: [...HUE, 'endpoint'], to: endpoint },
    ...Object.entries(registry).map(([key, to]) => ({ path: [...HUE, key], to })),
  );
  story.file(VALUES, excerpt(text, HUE));

  story.step(
    'Update each entry under fleetConfig.spokes[i].ociRegistry so every spoke cluster references the same ECR registry',
  );
  text = await edit(
    ...SPOKES.flatMap((name) =>
      Object.entries({ endpoint, ...registry }).map(([key, to]) => ({ path: [...spoke(name), key], to })),
    ),
  );
  story.file(VALUES, excerpt(text, ['fleetConfig']));

  await editAccounts(stage, edit);

  story.step('Remove the basicAuth section from both the hue and fleetConfig sections');
  story.say('What would be wrong without this step:');
  const wrong = await shell.run(`mural values lint ${VALUES}`, { code: 1 });
  story.check(
    'the lint names the basicAuth of hue and of the spoke',
    /basicAuth[^]*basicAuth/.test(wrong.all),
  );
  await edit(
    { path: [...HUE, 'basicAuth'], to: undefined },
    { path: [...spoke(SPOKE), 'basicAuth'], to: undefined },
  );
  const right = await shell.run(`mural values lint ${VALUES} && echo "nothing is wrong"`);
  story.check('the values are valid', right.all.trim() === 'nothing is wrong');
}

/** The roles of the service accounts, which on instances are that of the instance. */
async function editAccounts(
  { story, world }: Stage,
  edit: (...edits: readonly Edit[]) => Promise<string>,
): Promise<void> {
  const accounts = [
    { what: 'the hue service account', path: ['hue', 'serviceAccount'], more: {} },
    {
      what: 'the Flux source-controller service account',
      path: ['flux2', 'sourceController', 'serviceAccount'],
      more: { automount: true },
    },
  ];
  for (const { what, path, more } of accounts) {
    story.step(`Configure AWS authentication for ${what}`);
    if (world.place === 'iaas') {
      story.say('Skipped: the permissions are those of the EC2 node instance profile.');
      continue;
    }
    const to = { create: true, ...more, annotations: { [ROLE]: world.role } };
    const text = await edit({ path, to });
    story.file(VALUES, excerpt(text, path));
  }
}

/** Policies, role and repository, made from the values. */
export async function prerequisitesOfPrivate(stage: Stage): Promise<void> {
  const { story, world, shell } = stage;
  const { aws } = world;
  story.chapter('Prerequisites in the AWS account, from these values');
  if (world.place === 'eks') await roleOfAccounts(stage);
  else await roleOfInstances(stage);

  story.step('The repository: ECR makes none by itself');
  const name = `${NAMES.namespace}/${NAMES.repository}`;
  const created = await shell.run(
    `aws ecr create-repository --repository-name ${name} --region ${aws.region}`,
    { first: 8, last: 0 },
  );
  story.check(`its URI is that of the values`, created.stdout.includes(`${aws.registryHost()}/${name}"`));
}

/** Of the operator; hue has none. */
const NO_KEYS = {
  AWS_ACCESS_KEY_ID: undefined,
  AWS_SECRET_ACCESS_KEY: undefined,
  AWS_EC2_METADATA_DISABLED: undefined,
};

function identityWords({ place }: World): string {
  return place === 'eks' ? 'its token, and the role of the values' : 'that of the instance';
}

const POLICY = `mural ecr policy --values ${VALUES} --role push-and-pull | tee policy.json`;
const PUT_POLICY = `aws iam put-role-policy --role-name ${NAMES.role} --policy-name ecr --policy-document file://policy.json`;

async function roleOfAccounts({ story, world, shell }: Stage): Promise<void> {
  const { aws, issuers } = world;
  story.step('An OpenID Connect identity provider in IAM, for each cluster');
  story.output(`hub      ${issuers.hub.issuer}\n${SPOKE}  ${issuers.spoke.issuer}`);

  story.step('An AWS IAM role with the ECR permissions for a private registry');
  const policy = await shell.run(POLICY);

  story.step('A trust policy: the service accounts hue and source-controller can assume the role (IRSA)');
  const trust = await shell.run(
    `mural ecr trust-policy --values ${VALUES} \\
  --hub-issuer ${issuers.hub.issuer} \\
  --spoke-issuer ${SPOKE}=${issuers.spoke.issuer} 2>/dev/null | tee trust-policy.json`,
  );
  story.command(
    `aws iam create-role --role-name ${NAMES.role} --assume-role-policy-document file://trust-policy.json`,
  );
  story.command(PUT_POLICY);
  const role = aws.iam.createRole({
    name: NAMES.role,
    policies: [policy.stdout],
    trustPolicy: trust.stdout,
  });
  story.say('(The emulator has no API of IAM: the demo makes the role in it, of these two files.)');
  story.check(`the role is ${role.arn}, as in the values`, role.arn === world.role);
}

async function roleOfInstances({ story, world, shell }: Stage): Promise<void> {
  story.step('An AWS IAM role with the ECR permissions for a private registry');
  const policy = await shell.run(POLICY);
  story.step('The role is in the instance profile of each EC2 node; pods reach it over two hops');
  story.command(PUT_POLICY);
  story.command('aws ec2 modify-instance-metadata-options --instance-id … --http-put-response-hop-limit 2');
  world.aws.iam.putPolicy(world.role, 'ecr', policy.stdout);
  story.say('(The emulator has no API of IAM and EC2: the demo puts the policy there, and the limit is 2.)');
}

/** Preflight, the HelmRelease, and the validation of the guide. */
export async function applyPrivate(stage: Stage): Promise<void> {
  const { story, world, shell, signal } = stage;
  story.chapter('Apply the updated configuration, and validate');
  story.step('What would fail is found before anything is applied');
  story.say(`(Run with the identity of hue: ${identityWords(world)}.)`);
  const variables = { ...NO_KEYS, ...world.hueVariables };
  const found = await shell.run(`mural ecr preflight --values ${VALUES}`, { variables });
  story.check('nothing fails', !/^ *fail /m.test(found.stdout));
  story.step(
    'For Flux-managed installations, update the values block in the HelmRelease manifest for your mural release',
  );
  await writeRelease(world.folder, VALUES);
  const release = await readFile(join(world.folder, RELEASE), 'utf8');
  story.file(RELEASE, `${release.split('\n').slice(0, 12).join('\n')}\n… (the rest of ${VALUES})`);
  await shell.run(`kubectl apply --filename ${RELEASE}`);
  const url = `${endpointOf(world)}/${NAMES.repository}`;
  await world.reading(url, signal);
  await shell.run('kubectl get helmrelease mural --namespace mural-system');
  await validate(stage, {
    url,
    describe: `aws ecr describe-images \\
  --repository-name ${NAMES.namespace}/${NAMES.repository} \\
  --region ${world.aws.region}`,
  });
  story.step('A change of the workload now travels through ECR');
  await update(stage, 'through ECR Private');
}
