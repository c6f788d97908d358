import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { formatDuration, isRecord, systemClock } from '@mural/core';
import {
  type BackupReport,
  type CollectionReport,
  type Finding,
  type MaintenanceOptions,
  type RegistryStats,
  restoreBackup,
  type ScrubReport,
  type VerifyReport,
  writeBackup,
} from '@mural/registry';
import { type Context, pathOf, readUserFile } from '../context.ts';
import { CliError } from '../errors.ts';
import { layoutOf } from '../home/layout.ts';
import { readRegistryConfig } from '../registry-config/read.ts';
import { formatTable, shortDigest } from '../table.ts';
import type {
  BackupCommandOptions,
  CollectCommandOptions,
  MaintenanceCommandOptions,
  RestoreCommandOptions,
  ScrubCommandOptions,
} from './registry-maintenance.ts';
import { dataDirOf, withRegistry } from './registry-target.ts';

/** Lines of a list that are printed; JSON has all that the registry reports. */
const MAX_LINES = 200;

/** Counts what is stored. */
export async function statsCommand(options: MaintenanceCommandOptions, context: Context): Promise<void> {
  const stats = await withRegistry(options, context, {
    running: (registry) => registry.get('stats') as Promise<RegistryStats>,
    data: (data) => data.stats(),
  });
  print(options, context, stats, () => {
    const rows = stats.repositories.map(({ name, tags, manifests, blobs, bytes, uploads }) => [
      ...[name, String(tags), String(manifests), String(blobs), formatBytes(bytes), String(uploads)],
    ]);
    if (rows.length > 0) {
      context.out(formatTable(['REPOSITORY', 'TAGS', 'MANIFESTS', 'BLOBS', 'SIZE', 'UPLOADS'], rows));
      context.out('\n');
    }
    const quarantine =
      stats.quarantined === 0
        ? ''
        : `; ${stats.quarantined} damaged files (${formatBytes(stats.quarantinedBytes)}) in quarantine`;
    context.out(
      `${stats.repositories.length} repositories, ${stats.tags} tags, ${stats.manifests} manifests, ` +
        `${stats.blobs} distinct blobs (${formatBytes(stats.bytes)}), ${stats.uploads} unfinished uploads ` +
        `(${formatBytes(stats.uploadBytes)})${quarantine}; ${formatBytes(stats.freeBytes)} free on the disk\n`,
    );
  });
}

/** Removes what nothing needs any more. */
export async function collectCommand(options: CollectCommandOptions, context: Context): Promise<void> {
  const { dryRun = false, repository, config, grace } = options;
  if (options.registry !== undefined && (config !== undefined || grace !== undefined)) {
    throw new CliError('Usage', '--config and --grace are for --data: a registry that runs has its own', {
      hint: 'leave them out',
    });
  }
  const wanted = { dryRun, ...(repository === undefined ? {} : { repository }) };
  const rules: MaintenanceOptions = {
    ...(config === undefined ? {} : await rulesOf(config, context)),
    ...(grace === undefined ? {} : { graceMs: grace }),
  };
  requireNoFleet(options.data, rules, context);
  const report = await withRegistry(options, context, {
    running: (registry) => registry.post('collections', wanted) as Promise<CollectionReport>,
    data: (data) => data.collect({ ...wanted, signal: context.signal }),
    maintenance: rules,
  });
  print(options, context, report, () => printCollection(report, context));
}

/** What a fleet uses is known to its hub alone, so rules are applied to its registry while that runs. */
function requireNoFleet(folder: string, { retention = [] }: MaintenanceOptions, context: Context): void {
  if (retention.length === 0) return;
  const dataDir = dataDirOf(pathOf(context, folder));
  if (!existsSync(join(layoutOf(dirname(dataDir)).api, 'state.db'))) return;
  throw new CliError(
    'Usage',
    `${folder} is that of a hub: only while it runs is it known what its fleet uses`,
    {
      hint: 'give the rules to "mural up --registry-config", and then collect with --registry https://host:port',
    },
  );
}

async function rulesOf(file: string, context: Context): Promise<MaintenanceOptions> {
  const config = await readRegistryConfig({
    file,
    cwd: context.cwd,
    read: (path) => readUserFile(context, path),
    tell: context.err,
  });
  return config.maintenance;
}

function printCollection(report: CollectionReport, context: Context): void {
  const { dryRun, findings, skipped } = report;
  const now = systemClock.now();
  const rows = findings.slice(0, MAX_LINES).map((finding) => findingRow(finding, now));
  if (rows.length > 0) {
    const heads = ['KIND', 'REPOSITORY', 'NAME', 'SIZE', ...(dryRun ? ['WHEN'] : []), 'WHY'];
    context.out(formatTable(heads, dryRun ? rows : rows.map((row) => row.toSpliced(4, 1))));
    if (report.truncated || findings.length > rows.length) context.out('… and more\n');
    context.out('\n');
  }
  for (const { repository, reason } of skipped)
    context.err(`warning: ${repository} was left alone: ${reason}\n`);
  const held = report.held === 0 ? '' : `; ${report.held} are leased, protected or in use`;
  const waiting = report.waiting === 0 ? '' : `; ${report.waiting} wait for the end of their grace period`;
  context.out(
    `${dryRun ? 'would remove' : 'removed'} ${report.tags} tags, ${report.manifests} manifests, ` +
      `${report.blobs} blobs, ${report.files} stray files, ${report.uploads} unfinished uploads: ` +
      `${formatBytes(report.freedBytes)}${waiting}${held}\n`,
  );
}

function findingRow(finding: Finding, now: number): string[] {
  const { kind, repository, tag, digest, bytes, due, reason } = finding;
  const when =
    due === undefined || due <= now
      ? 'now'
      : `in ${formatDuration(Math.ceil((due - now) / 60_000) * 60_000)}`;
  const size = bytes === undefined ? '-' : formatBytes(bytes);
  return [kind, repository ?? '-', tag ?? shortDigest(digest), size, when, reason];
}

/** Hashes everything that is stored; exit code 1 when something is damaged. */
export async function scrubCommand(options: ScrubCommandOptions, context: Context): Promise<void> {
  const wanted = {
    ...(options.rate === undefined ? {} : { bytesPerSecond: options.rate }),
    ...(options.restart === undefined ? {} : { restart: options.restart }),
  };
  const report = await withRegistry(options, context, {
    running: (registry) => registry.post('scrubs', wanted) as Promise<ScrubReport>,
    data: (data) => data.scrub({ ...wanted, signal: context.signal }),
  });
  print(options, context, report, () => {
    const rows = report.damaged.map(({ kind, digest, repositories }) => [
      kind,
      digest,
      repositories.join(' '),
    ]);
    if (rows.length > 0) context.out(`${formatTable(['DAMAGED', 'DIGEST', 'REPOSITORIES'], rows)}\n`);
    context.out(
      `${report.manifests} manifests and ${report.blobs} blobs (${formatBytes(report.bytes)}) ` +
        `${report.resumed ? 'since the interruption ' : ''}were hashed in ` +
        `${formatDuration(Math.round(report.durationMs))}: ${report.damaged.length} damaged\n`,
    );
  });
  if (report.damaged.length > 0) context.exitWith(1);
}

/** Compares metadata and files; exit code 1 when something is missing. */
export async function verifyCommand(options: MaintenanceCommandOptions, context: Context): Promise<void> {
  const report = await withRegistry(options, context, {
    running: (registry) => registry.get('verify') as Promise<VerifyReport>,
    data: (data) => data.verify({ thorough: true, signal: context.signal }),
  });
  print(options, context, report, () => {
    const rows = report.problems
      .slice(0, MAX_LINES)
      .map(({ kind, repository = '-', tag, digest = '-', detail = '-' }) => [
        kind,
        repository,
        tag ?? digest,
        detail,
      ]);
    if (rows.length > 0) context.out(`${formatTable(['PROBLEM', 'REPOSITORY', 'NAME', 'DETAIL'], rows)}\n`);
    context.out(
      `${report.repositories} repositories, ${report.manifests} manifests, ${report.blobs} blobs: ` +
        `${report.found} problems${report.found > 0 && report.ok ? ', none of which loses anything' : ''}\n`,
    );
  });
  if (!report.ok) context.exitWith(1);
}

/** Writes a backup; exit code 1 when a blob is missing from it. */
export async function backupCommand(options: BackupCommandOptions, context: Context): Promise<void> {
  const to = pathOf(context, options.to);
  const report = await withRegistry(options, context, {
    running: (registry) =>
      registry.withBackup((source) =>
        writeBackup(source, to, { now: systemClock.now(), signal: context.signal }),
      ),
    data: (data) => data.backup(to, { signal: context.signal }),
  });
  printCopy(options, context, report, 'backed up to');
}

/** Makes a data folder from a backup; exit code 1 when a blob is missing from it. */
export async function restoreCommand(options: RestoreCommandOptions, context: Context): Promise<void> {
  const dataDir = layoutOf(pathOf(context, options.data)).registry;
  const report = await restoreBackup(pathOf(context, options.from), dataDir, { signal: context.signal });
  printCopy(options, context, report, 'restored to');
}

function printCopy(
  options: { readonly output: 'text' | 'json' },
  context: Context,
  report: BackupReport,
  done: string,
): void {
  print(options, context, report, () => {
    for (const digest of report.missing) context.err(`warning: ${digest} is missing or damaged\n`);
    const reused = report.reused === 0 ? '' : `, ${report.reused} of them there already`;
    context.out(
      `${report.blobs} blobs (${formatBytes(report.bytes)})${reused} ${done} ${report.directory}\n`,
    );
  });
  if (report.missing.length > 0) context.exitWith(1);
}

function print(
  options: { readonly output: 'text' | 'json' },
  context: Context,
  report: unknown,
  text: () => void,
): void {
  if (options.output === 'json') {
    context.out(`${JSON.stringify(isRecord(report) ? { ...report } : report, null, 2)}\n`);
  } else text();
}

/** `1.5 GiB`. */
function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit] ?? ''}`;
}
