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
export async function editForPrivate({ story, world, shell }: Stage): Promise<void> {
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

  story.step('Configure AWS authentication for the hue service account (EKS)');
  const account = { create: true, annotations: { [ROLE]: world.role } };
  text = await edit({ path: ['hue', 'serviceAccount'], to: account });
  story.file(VALUES, excerpt(text, ['hue', 'serviceAccount']));

  story.step('Configure AWS authentication for the Flux source-controller service account (EKS)');
  const place = ['flux2', 'sourceController', 'serviceAccount'] as const;
  text = await edit({
    path: place,
    to: { create: true, automount: true, annotations: { [ROLE]: world.role } },
  });
  story.file(VALUES, excerpt(text, place));

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

/** Policies, role and repository, made from the values. */
export async function prerequisitesOfPrivate(stage: Stage): Promise<void> {
  const { story, world, shell } = stage;
  const { aws, issuers } = world;
  story.chapter('Prerequisites in the AWS account, from these values');
  story.step('An OpenID Connect identity provider in IAM, for each cluster');
  story.output(`hub      ${issuers.hub.issuer}\n${SPOKE}  ${issuers.spoke.issuer}`);

  story.step('An AWS IAM role with the ECR permissions for a private registry');
  const policy = await shell.run(
    `mural ecr policy --values ${VALUES} --role push-and-pull | tee policy.json`,
  );

  story.step('A trust policy: the service accounts hue and source-controller can assume the role (IRSA)');
  const trust = await shell.run(
    `mural ecr trust-policy --values ${VALUES} --hub-issuer ${issuers.hub.issuer} \\
  --spoke-issuer ${SPOKE}=${issuers.spoke.issuer} 2>/dev/null | tee trust-policy.json`,
  );
  story.command(
    `aws iam create-role --role-name ${NAMES.role} --assume-role-policy-document file://trust-policy.json`,
  );
  story.command(
    `aws iam put-role-policy --role-name ${NAMES.role} --policy-name ecr --policy-document file://policy.json`,
  );
  const role = aws.iam.createRole({ name: NAMES.role, policies: [policy.stdout], trustPolicy: trust.stdout });
  story.say('(The emulator has no API of IAM: the demo makes the role in it, of these two files.)');
  story.check(`the role is ${role.arn}, as in the values`, role.arn === world.role);

  story.step('The repository: ECR makes none by itself');
  const name = `${NAMES.namespace}/${NAMES.repository}`;
  const created = await shell.run(
    `aws ecr create-repository --repository-name ${name} --region ${aws.region}`,
    { first: 8, last: 0 },
  );
  story.check(`its URI is that of the values`, created.stdout.includes(`${aws.registryHost()}/${name}"`));
}

/** Preflight, the HelmRelease, and the validation of the guide. */
export async function applyPrivate(stage: Stage): Promise<void> {
  const { story, world, shell, signal } = stage;
  story.chapter('Apply the updated configuration, and validate');
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
