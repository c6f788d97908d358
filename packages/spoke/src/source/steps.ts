import { type Clock, parseDuration, rfc3339, withDeadline } from '@mural/core';
import { type OCIRepository, type OCIRepositorySpec, ReconcileError, type SourceArtifact } from '@mural/kube';
import { pullArtifact, type RegistryClient } from '@mural/oci';
import { deadlineOf } from '../deadline.ts';
import { conditionMessage } from '../status.ts';
import type { AccessResolver } from './access.ts';
import type { ClientPool, RegistryAccess } from './clients.ts';
import { contentOf } from './content.ts';
import { fetchError, locate, type Resolved, resolveDigest, resolveTag } from './resolve.ts';
import type { ArtifactStorage, SourceRef } from './storage.ts';

/** What the steps work with. */
export interface SourceTools {
  readonly storage: ArtifactStorage;
  readonly access: AccessResolver;
  readonly pool: ClientPool;
  readonly clock: Clock;
}

/** What one run knows, from step to step. */
export interface SourceRun {
  readonly object: OCIRepository;
  readonly spec: OCIRepositorySpec;
  readonly source: SourceRef;
  /** What is stored: at first what the status says, once it was found to be true. */
  artifact: SourceArtifact | undefined;
  /** What the reference means now, when that was found out. */
  resolved: Resolved | undefined;
  /** Pulled content that is not stored yet. */
  pulled: { readonly content: Uint8Array; readonly metadata: Readonly<Record<string, string>> } | undefined;
}

/** How many artifacts of one source are kept, the current one among them. */
const RETENTION_RECORDS = 2;

/** Step 1: the artifact that the status names is on the disk and has its digest, or there is none. */
export async function reconcileStorage(run: SourceRun, { storage }: SourceTools): Promise<void> {
  const { artifact } = run;
  if (artifact === undefined) return;
  if (!(await storage.has(run.source, artifact.digest))) run.artifact = undefined;
}

/** Step 2: find out what the reference means, and pull it when that is not what is stored. */
export async function reconcileSource(
  run: SourceRun,
  tools: SourceTools,
  signal: AbortSignal,
): Promise<void> {
  refuseVerification(run.spec);
  const timeoutMs = parseDuration(run.spec.timeout);
  try {
    await withDeadline(deadlineOf(tools.clock, timeoutMs, signal), async (inner) =>
      fetchSource(run, tools, inner),
    );
  } catch (cause) {
    signal.throwIfAborted();
    throw fetchError(cause, `failed to pull artifact from '${run.spec.url}'`, 'OCIArtifactPullFailed');
  }
}

async function fetchSource(run: SourceRun, tools: SourceTools, signal: AbortSignal): Promise<void> {
  const { spec } = run;
  const { registry, repository } = locate(spec);
  run.resolved = resolveDigest(spec);
  // A digest says itself what it is: what is stored needs neither registry nor credentials.
  if (isUpToDate(run)) return;
  const access = await accessFor(run, tools, registry, signal);
  const client = clientFor(tools.pool, access);
  run.resolved ??= await resolveTag(spec, client, repository, signal);
  if (isUpToDate(run)) return;
  const pulled = await pullArtifact(client, repository, run.resolved.digest, {
    signal,
    ...(spec.layerSelector?.mediaType === undefined
      ? {}
      : { layerSelector: { mediaType: spec.layerSelector.mediaType } }),
  });
  run.pulled = { content: await contentOf(pulled.layer, spec), metadata: pulled.annotations };
}

async function accessFor(
  { spec, source }: SourceRun,
  { access }: SourceTools,
  registry: string,
  signal: AbortSignal,
): Promise<RegistryAccess> {
  try {
    return await access.resolve(spec, source.namespace, registry, signal);
  } catch (cause) {
    signal.throwIfAborted();
    if (cause instanceof ReconcileError) throw cause;
    const message = `failed to get credential: ${conditionMessage(cause)}`;
    throw new ReconcileError('generic', 'AuthenticationFailed', message, {
      cause,
      conditionType: 'FetchFailed',
    });
  }
}

function clientFor(pool: ClientPool, access: RegistryAccess): RegistryClient {
  try {
    return pool.get(access);
  } catch (cause) {
    throw new ReconcileError(
      'generic',
      'AuthenticationFailed',
      `failed to configure the transport: ${conditionMessage(cause)}`,
      {
        cause,
        conditionType: 'FetchFailed',
      },
    );
  }
}

/** Step 3: store what was pulled as the last good artifact, then collect what is older. */
export async function reconcileArtifact(run: SourceRun, tools: SourceTools): Promise<void> {
  const { pulled, resolved, source } = run;
  if (pulled === undefined || resolved === undefined) return;
  const previous = run.artifact?.digest;
  try {
    const stored = await tools.storage.write(source, pulled.content);
    run.artifact = {
      ...stored,
      revision: resolved.revision,
      lastUpdateTime: rfc3339(tools.clock.now()),
      ...(Object.keys(pulled.metadata).length === 0 ? {} : { metadata: pulled.metadata }),
    };
    const keep = [stored.digest, ...(previous === undefined ? [] : [previous])];
    await tools.storage.collect(source, keep, RETENTION_RECORDS);
  } catch (cause) {
    throw new ReconcileError(
      'generic',
      'ArchiveOperationFailed',
      `unable to store the artifact: ${conditionMessage(cause)}`,
      {
        cause,
        conditionType: 'StorageOperationFailed',
      },
    );
  }
}

/** Whether what is stored is what the spec asks for: same revision, and made in the same way. */
function isUpToDate({ artifact, resolved, spec, object }: SourceRun): boolean {
  if (artifact === undefined || artifact.revision !== resolved?.revision) return false;
  const { observedIgnore, observedLayerSelector } = object.status ?? {};
  return (
    observedIgnore === spec.ignore &&
    observedLayerSelector?.mediaType === spec.layerSelector?.mediaType &&
    observedLayerSelector?.operation === spec.layerSelector?.operation
  );
}

/** Unverified content must not pass for verified. */
function refuseVerification({ verify }: OCIRepositorySpec): void {
  if (verify === undefined) return;
  throw new ReconcileError(
    'stalling',
    'VerificationError',
    `failed to verify the signature: spec.verify with provider '${verify.provider}' is not supported by this controller`,
    { conditionType: 'SourceVerified', hint: 'Remove spec.verify, or let Flux reconcile this source.' },
  );
}
