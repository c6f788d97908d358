import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { systemCode } from '@mural/core';
import {
  extractLayer,
  formatReference,
  isValidTag,
  OciError,
  packArtifact,
  packDirectory,
  type PackedArtifact,
  type PackMetadata,
  parseManifest,
  parseReference,
  parseRepositoryUrl,
  pullArtifact,
  pushArtifact,
  type Reference,
  type RegistryClient,
} from '@mural/oci';
import { stringify } from 'yaml';
import { type Context, pathOf, readUserFile } from '../context.ts';
import { CliError } from '../errors.ts';
import { openRegistryClient } from '../registry-access.ts';
import type {
  AccessOptions,
  ListOptions,
  Output,
  PullOptions,
  PushOptions,
  TagOptions,
} from './artifacts.ts';
import { formatTable } from '../table.ts';

const SOURCE = 'org.opencontainers.image.source';
const REVISION = 'org.opencontainers.image.revision';

/** Packs a folder or file and pushes it. */
export async function pushCommand(url: string, options: PushOptions, context: Context): Promise<void> {
  const reference = ociReference(url);
  if (reference.tag === undefined || reference.digest !== undefined) {
    throw new CliError('Usage', `${url} names no tag`, { hint: 'write oci://host/repository:tag' });
  }
  const artifact = await pack(options, context);
  const { registry, repository, tag: name } = reference;
  const result = await withClient(context, registry, options, async (client) =>
    pushArtifact(client, repository, artifact, { tags: [name], signal: context.signal }),
  );
  const pinned = `oci://${registry}/${repository}@${result.digest}`;
  const facts = { url: pinned, repository: `${registry}/${repository}`, tag: name, digest: result.digest };
  if (options.output === 'text') {
    const what = result.pushed ? `pushed ${result.bytes} bytes to` : 'already there:';
    context.out(`${what} ${formatReference(reference)} (${result.digest})\n`);
  } else context.out(serialise(facts, options.output));
}

async function pack(options: PushOptions, context: Context): Promise<PackedArtifact> {
  const path = pathOf(context, options.path);
  const metadata: PackMetadata = {
    ...(options.source === undefined ? {} : { source: options.source }),
    ...(options.revision === undefined ? {} : { revision: options.revision }),
    ...(options.annotations === undefined ? {} : { annotations: options.annotations }),
  };
  try {
    if ((await stat(path)).isDirectory()) return await packDirectory(path, metadata);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
    throw new CliError('FileUnreadable', `cannot read ${options.path}: there is no such file`);
  }
  const content = await readUserFile(context, options.path);
  return packArtifact({ ...metadata, files: [{ path: basename(path), content }] });
}

/** Pulls an artifact and unpacks it. */
export async function pullCommand(url: string, options: PullOptions, context: Context): Promise<void> {
  const { registry, repository, digest, tag: name } = ociReference(url);
  const pulled = await withClient(context, registry, options, async (client) =>
    pullArtifact(client, repository, digest ?? name ?? 'latest', { signal: context.signal }),
  );
  await extractLayer(pulled.layer, pathOf(context, options.output));
  const { [SOURCE]: source, [REVISION]: revision } = pulled.annotations;
  context.out(`pulled ${pulled.digest} into ${options.output}\n`);
  if (source !== undefined) context.out(`source ${source}\n`);
  if (revision !== undefined) context.out(`revision ${revision}\n`);
}

/** Gives an artifact further tags. */
export async function tagCommand(url: string, options: TagOptions, context: Context): Promise<void> {
  const { registry, repository, digest, tag: name } = ociReference(url);
  const bad = options.tag.find((wanted) => !isValidTag(wanted));
  if (bad !== undefined) throw new CliError('Usage', `"${bad}" is not a tag`);
  await withClient(context, registry, options, async (client) => {
    const manifest = await client.getManifest(repository, digest ?? name ?? 'latest', context.signal);
    for (const wanted of options.tag) {
      await client.putManifest(repository, wanted, manifest.bytes, manifest.mediaType, context.signal);
      context.out(`tagged ${manifest.digest} as ${registry}/${repository}:${wanted}\n`);
    }
  });
}

/** Lists the tags of a repository. */
export async function listCommand(url: string, options: ListOptions, context: Context): Promise<void> {
  const { registry, repository } = parseRepositoryUrl(url);
  const rows = await withClient(context, registry, options, async (client) => {
    const tags = await client.listTags(repository, context.signal);
    return inBatches(tags, 8, async (name) => describeTag(client, repository, name, context.signal));
  });
  if (options.output !== 'text') {
    context.out(serialise(rows, options.output));
    return;
  }
  const heads = ['ARTIFACT', 'DIGEST', 'SOURCE', 'REVISION'];
  const cells = rows.map((row) => [
    `oci://${registry}/${repository}:${row.tag}`,
    row.digest,
    row.source,
    row.revision,
  ]);
  context.out(formatTable(heads, cells));
}

interface TagRow {
  readonly tag: string;
  readonly digest: string;
  readonly source: string;
  readonly revision: string;
}

async function describeTag(
  client: RegistryClient,
  repository: string,
  name: string,
  signal: AbortSignal,
): Promise<TagRow> {
  const fetched = await client.getManifest(repository, name, signal);
  const { annotations = {} } = parseManifest(fetched.bytes, fetched.mediaType).manifest;
  const { [SOURCE]: source = '', [REVISION]: revision = '' } = annotations;
  return { tag: name, digest: fetched.digest, source, revision };
}

async function inBatches<T, R>(
  items: readonly T[],
  size: number,
  action: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  for (let start = 0; start < items.length; start += size) {
    results.push(...(await Promise.all(items.slice(start, start + size).map(action))));
  }
  return results;
}

async function withClient<T>(
  context: Context,
  registry: string,
  options: AccessOptions,
  action: (client: RegistryClient) => Promise<T>,
): Promise<T> {
  const client = await openRegistryClient(context, registry, options);
  try {
    return await action(client);
  } catch (error) {
    if (!(error instanceof OciError) || error.code !== 'CertificateInvalid') throw error;
    throw new CliError('CertificateUntrusted', error.message, {
      hint: 'name the CA that signed it with --ca, or check the name that the certificate is for',
      cause: error,
    });
  } finally {
    await client.close();
  }
}

function ociReference(url: string): Reference {
  if (!url.startsWith('oci://')) {
    throw new CliError('Usage', `${url} is not an OCI URL`, {
      hint: `write oci://${url.replace(/^[a-z]+:\/\//, '')}`,
    });
  }
  return parseReference(url);
}

function serialise(value: unknown, output: Exclude<Output, 'text'>): string {
  return output === 'json' ? `${JSON.stringify(value, null, 2)}\n` : stringify(value);
}
