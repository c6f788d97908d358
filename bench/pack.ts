/**
 * How fast artifacts are packed and unpacked, against GNU tar and gzip on the same files in the same run.
 *
 *     node bench/pack.ts [megabytes]
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { type PackFile, packArtifact, unpackLayer } from '../packages/oci/src/index.ts';

const MIB = 1024 * 1024;
const megabytes = Number(process.argv[2] ?? 200);

/** Manifests like a renderer's: much the same structure, names and values that differ. */
function manifests(bytes: number): PackFile[] {
  const files: PackFile[] = [];
  let seed = 1;
  const next = (): number => (seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31);
  for (let total = 0, index = 0; total < bytes; index += 1) {
    const documents = Array.from({ length: 60 }, (_, item) => {
      const name = `app-${index}-${item}`;
      const data = Array.from({ length: 12 }, (_, key) => `  key-${key}: "${next().toString(36)}"`).join(
        '\n',
      );
      return `---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: ${name}\n  namespace: team-${index % 40}\n  labels:\n    app.kubernetes.io/name: ${name}\n    app.kubernetes.io/managed-by: mural\ndata:\n${data}\n`;
    });
    const content = documents.join('');
    files.push({ path: `team-${index % 40}/app-${index}.yaml`, content });
    total += content.length;
  }
  return files;
}

function report(what: string, bytes: number, milliseconds: number, note = ''): number {
  const rate = bytes / MIB / (milliseconds / 1000);
  console.log(
    `${what.padEnd(34)} ${rate.toFixed(1).padStart(8)} MB/s ${milliseconds.toFixed(0).padStart(7)} ms  ${note}`,
  );
  return rate;
}

const files = manifests(megabytes * MIB);
const bytes = files.reduce((total, file) => total + file.content.length, 0);
const directory = mkdtempSync(join(tmpdir(), 'mural-bench-'));
try {
  for (const file of files) {
    mkdirSync(dirname(join(directory, 'in', file.path)), { recursive: true });
    writeFileSync(join(directory, 'in', file.path), file.content);
  }
  console.log(`${files.length} files, ${(bytes / MIB).toFixed(0)} MiB, best of 3`);
  let ours = 0;
  let theirs = 0;
  for (let round = 0; round < 3; round += 1) {
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    let started = performance.now();
    const artifact = await packArtifact({ files });
    const [layer] = artifact.layers;
    if (layer === undefined) throw new Error('no layer');
    const blocked = `${(layer.size / MIB).toFixed(1)} MiB, event loop held for ${(delay.max / 1e6).toFixed(0)} ms at most`;
    ours = Math.max(ours, report('packArtifact', bytes, performance.now() - started, blocked));
    delay.disable();

    started = performance.now();
    const archive = join(directory, 'tar.tgz');
    const tar =
      'tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 --format=ustar -C "$1" -c . | gzip -6 > "$2"';
    execFileSync('bash', ['-c', tar, 'tar', join(directory, 'in'), archive]);
    const size = `${(statSync(archive).size / MIB).toFixed(1)} MiB`;
    theirs = Math.max(theirs, report('tar --sort=name | gzip -6', bytes, performance.now() - started, size));

    started = performance.now();
    await unpackLayer(layer.bytes, { maxBytes: 2 * bytes });
    report('unpackLayer', bytes, performance.now() - started);
  }
  console.log(`packArtifact is ${(ours / theirs).toFixed(2)} times as fast as tar and gzip`);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
