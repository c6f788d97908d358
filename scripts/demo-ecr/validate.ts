import type { Stage } from './stage.ts';
import { isReady, SPOKE } from './world.ts';

/** What the validation is about. */
export interface Expected {
  /** `oci://` address of the repository. */
  readonly url: string;
  /** The command that shows the artifacts in ECR. */
  readonly describe: string;
}

interface Images {
  readonly imageDetails: readonly { readonly imageDigest: string; readonly imageTags?: readonly string[] }[];
}

/** The three commands of the validation, each with what it must show. */
export async function validate({ story, world, shell }: Stage, { url, describe }: Expected): Promise<void> {
  story.step('Confirm that the OCIRepository resources are ready');
  const listed = await shell.run('kubectl get ocirepository --namespace mural-system');
  const [, ...rows] = listed.stdout.trim().split('\n');
  const right = rows.filter((row) => row.includes(`   ${url} `) && /\s{2,}True\s{2,}/.test(row));
  story.check(
    `all ${rows.length} are Ready and read ${url}`,
    rows.length > 0 && right.length === rows.length,
  );
  const sources = await world.sources();
  const there = sources.filter(({ cluster }) => cluster === 'spoke');
  story.check(
    `so are the ${there.length} on ${SPOKE}`,
    there.length > 0 && there.every(({ source }) => source.spec.url === url && isReady(source)),
  );

  story.step('Check the Hue controller logs for successful OCI pushes');
  const logs = await shell.run(
    'kubectl logs --namespace mural-system deployment/hue | grep --ignore-case "push\\|oci"',
    { last: 5 },
  );
  const host = new URL(url.replace('oci:', 'https:')).host;
  story.check(
    `they show pushes to ${host}`,
    logs.stdout.split('\n').some((line) => /push/i.test(line) && line.includes(host)),
  );

  story.step('Verify that artifacts exist in ECR');
  const described = await shell.run(describe, { first: 16 });
  const { imageDetails } = JSON.parse(described.stdout) as Images;
  const present = new Set(imageDetails.map(({ imageDigest }) => imageDigest));
  const read = sources.map(
    ({ source }) => /sha256:[0-9a-f]{64}/.exec(source.status?.artifact?.revision ?? '')?.[0] ?? '',
  );
  story.check(
    `${imageDetails.length} are there, among them all ${new Set(read).size} that hub and ${SPOKE} read`,
    read.length > 0 && read.every((digest) => present.has(digest)),
    `They read ${read.join(', ')}.`,
  );
}
