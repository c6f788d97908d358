import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { VALUES, WORKLOAD, workload } from './files.ts';
import type { Stage } from './stage.ts';
import { SPOKE } from './world.ts';

/** A fleet as it is before the task: hub and spoke on the default registry, with a workload. */
export async function beforeTheTask({ story, world, shell, signal }: Stage): Promise<void> {
  story.chapter('Before the task: a hub and a spoke on the default registry');
  story.step(`The hub and ${SPOKE} were started, each a process of its own`);
  story.output(
    [
      `mural up --values ${VALUES} --data hub …`,
      `mural spoke bootstrap ${SPOKE} > ${SPOKE}.bootstrap.yaml`,
      `mural spoke run --bootstrap ${SPOKE}.bootstrap.yaml --data ${SPOKE} …`,
    ].join('\n'),
  );
  story.say(
    world.place === 'eks'
      ? 'Each has what EKS gives its pod: a token of its service account (hue, source-controller).'
      : 'Each runs as a pod on an EC2 instance, whose metadata service it reaches.',
  );
  story.check(`the default registry serves at ${world.hub['registry'] ?? ''}`, await world.registryListens());

  story.step('A workload is on hub and spoke');
  await writeFile(join(world.folder, WORKLOAD), workload('on the default registry'));
  await shell.run(`kubectl apply --filename ${WORKLOAD}`);
  const seconds = await world.arrival('on the default registry', signal);
  story.check(`it arrived on both after ${seconds.toFixed(1)} s`, true);
  world.startLooking();
  await world.reading(`oci://${new URL(world.hub['registry'] ?? '').host}/mural/mural-workloads`, signal);
  await shell.run('kubectl get ocirepository --namespace mural-system');
}

/** Changes the workload and waits for it: what was moved still delivers. */
export async function update({ story, world, shell, signal }: Stage, message: string): Promise<void> {
  await writeFile(join(world.folder, WORKLOAD), workload(message));
  await shell.run(`kubectl apply --filename ${WORKLOAD}`);
  const seconds = await world.arrival(message, signal);
  story.check(`the change arrived on hub and ${SPOKE} after ${seconds.toFixed(1)} s`, true);
}
