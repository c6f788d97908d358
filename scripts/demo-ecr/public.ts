import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { update } from './before.ts';
import { editValues, excerpt, RELEASE, VALUES, VALUES_PUBLIC, writeRelease } from './files.ts';
import type { Stage } from './stage.ts';
import { validate } from './validate.ts';
import { NAMES, SPOKE, type World } from './world.ts';

function endpointOf({ aws }: World): string {
  return `oci://public.ecr.aws/${aws.registries.aliasOf(aws.account)}`;
}

/** The other tab of the guide: a move to ECR Public, by the command that does it all. */
export async function moveToPublic(stage: Stage): Promise<void> {
  const { story, world, shell } = stage;
  const { folder, aws } = world;
  story.chapter('From ECR Private to ECR Public, by "mural registry migrate"');
  story.step('The values of ECR Public, in a copy');
  await copyFile(join(folder, VALUES), join(folder, VALUES_PUBLIC));
  const places = [
    ['hue', 'ociRegistry'],
    ...['hub-as-spoke', SPOKE].map((name) => ['fleetConfig', 'spokes', name, 'ociRegistry']),
  ];
  const endpoint = endpointOf(world);
  const text = await editValues(
    folder,
    VALUES_PUBLIC,
    places.map((path) => ({ path: [...path, 'endpoint'], to: endpoint })),
  );
  story.file(VALUES_PUBLIC, excerpt(text, ['hue', 'ociRegistry']));
  await shell.run(`mural values lint ${VALUES_PUBLIC}`);

  story.step('Permissions for a public registry, and the repository');
  const policy = await shell.run(
    `mural ecr policy --values ${VALUES_PUBLIC} --account ${aws.account} 2>/dev/null`,
  );
  aws.iam.putPolicy(world.role, 'ecr-public', policy.stdout);
  story.say('(Given to the role, beside the first policy, which the move still needs.)');
  await shell.run(
    `aws ecr-public create-repository --repository-name ${NAMES.repository} --region us-east-1`,
    { first: 8 },
  );

  story.step('What the move would do');
  const plan = await shell.run(`mural registry migrate --values ${VALUES} --to ${VALUES_PUBLIC} --dry-run`);
  story.check('nothing was changed', plan.stdout.includes('Nothing was changed.'));

  story.step('The move');
  const moved = await shell.run(`mural registry migrate --values ${VALUES} --to ${VALUES_PUBLIC}`);
  const url = `${endpoint}/${NAMES.repository}`;
  story.check(`the fleet reads ${url}`, moved.stdout.includes(`The fleet reads ${url}.`));
  await validate(stage, {
    url,
    describe: `aws ecr-public describe-images \\
  --repository-name ${NAMES.repository} \\
  --region us-east-1`,
  });
  story.step('A change of the workload now travels through ECR Public');
  await update(stage, 'through ECR Public');
}

/** The end of the task: the default registry goes. */
export async function removeDefault(stage: Stage): Promise<void> {
  const { story, world, shell, signal } = stage;
  story.chapter('Next steps: without the default registry');
  story.step('After you confirm that ECR is working, disable Zot');
  const text = await editValues(world.folder, VALUES_PUBLIC, [{ path: ['zot', 'enabled'], to: false }]);
  story.file(VALUES_PUBLIC, excerpt(text, ['zot']));
  story.check('until now it served', await world.registryListens());

  story.step('Update the HelmRelease to remove Zot');
  await writeRelease(world.folder, VALUES_PUBLIC);
  await shell.run(`kubectl apply --filename ${RELEASE}`);
  await world.until('the default registry is gone', signal, async () => !(await world.registryListens()));
  story.check(`nothing listens at ${world.hub['registry'] ?? ''} any more`, true);
  await shell.run('kubectl get helmrelease mural --namespace mural-system');

  story.step('Workloads go on without it');
  await update(stage, 'without the default registry');
}
