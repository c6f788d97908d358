import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Digest } from '../names.ts';
import { sameStamp } from '../store/blob-files.ts';
import type { Database } from '../store/database.ts';
import type { Repository } from '../store/metadata.ts';
import { namedIn, NON_DISTRIBUTABLE } from '../store/references.ts';
import type { Store } from '../store/store.ts';

/** What can be wrong, worst first. */
export type ProblemKind =
  /** The database itself. */
  | 'database'
  /** A tag on a manifest that is not there. */
  | 'danglingTag'
  /** A manifest whose bytes are not there, or cannot be read. */
  | 'missingManifest'
  /** A manifest names a blob that its repository does not have. */
  | 'missingBlob'
  /** A repository has a blob that was lost or found damaged. */
  | 'lostBlob'
  /** A blob's file is not there. */
  | 'missingFile'
  /** A blob's file is not as the registry left it: it is hashed before it is served. */
  | 'changedFile'
  /** A file that belongs to no blob; a collection removes it. */
  | 'orphanFile';

/** One thing that is wrong. */
export interface Problem {
  readonly kind: ProblemKind;
  readonly repository?: string;
  readonly tag?: string;
  readonly digest?: Digest;
  readonly detail?: string;
}

/** What a check of the metadata against the files found. */
export interface VerifyReport {
  readonly repositories: number;
  readonly manifests: number;
  readonly blobs: number;
  /** Whether nothing is wrong that loses content: changed and orphan files do not. */
  readonly ok: boolean;
  /** How many problems there are, of which `problems` lists the first. */
  readonly found: number;
  readonly problems: readonly Problem[];
}

const MAX_PROBLEMS = 10_000;
const SLICE = 100;
const HARMLESS: ReadonlySet<ProblemKind> = new Set(['changedFile', 'orphanFile']);

/**
 * Compares tags, manifests, blobs and files, and changes nothing. It hashes nothing either: that is
 * what a scrub does.
 *
 * @param thorough check the database file too, which holds everybody up for as long as reading it takes
 */
export async function verifyStore(
  store: Store,
  { thorough = false, signal }: { thorough?: boolean; signal?: AbortSignal } = {},
): Promise<VerifyReport> {
  const { metadata } = store;
  const problems: Problem[] = [];
  let found = 0;
  let ok = true;
  const note = (problem: Problem): void => {
    found += 1;
    ok &&= HARMLESS.has(problem.kind);
    if (problems.length < MAX_PROBLEMS) problems.push(problem);
  };
  let looked = 0;
  const pause = async (): Promise<void> => {
    signal?.throwIfAborted();
    looked += 1;
    if (looked % SLICE === 0) await nextTurn();
  };
  for (const detail of thorough ? store.database.problems() : []) note({ kind: 'database', detail });
  const repositories = [...metadata.repositories()];
  for (const repository of repositories) await verifyRepository(store, repository, note, pause);
  await verifyFiles(store, note, pause);
  return {
    repositories: repositories.length,
    manifests: repositories.reduce((total, { manifests }) => total + manifests.size, 0),
    blobs: [...metadata.blobs()].length,
    ok,
    found,
    problems,
  };
}

type Note = (problem: Problem) => void;
type Pause = () => Promise<void>;

async function verifyRepository(
  { metadata, database }: Store,
  repository: Repository,
  note: Note,
  pause: Pause,
): Promise<void> {
  const { name } = repository;
  const mirrored = mirroredManifests(database, name);
  for (const [tag, digest] of [...repository.tags.entries()]) {
    if (!repository.manifests.has(digest)) note({ kind: 'danglingTag', repository: name, tag, digest });
  }
  for (const digest of [...repository.manifests.keys()]) {
    await pause();
    if (!repository.manifests.has(digest)) continue;
    const bytes = metadata.contents.stored(digest);
    const named = bytes === undefined ? undefined : namedIn(bytes);
    if (named === undefined) note({ kind: 'missingManifest', repository: name, digest });
    for (const { digest: blob, mediaType, isManifest } of named ?? []) {
      if (
        isManifest ||
        mirrored.has(digest) ||
        repository.blobs.has(blob) ||
        NON_DISTRIBUTABLE.test(mediaType)
      )
        continue;
      note({ kind: 'missingBlob', repository: name, digest: blob, detail: `named by ${digest}` });
    }
  }
  for (const digest of repository.blobs.keys()) {
    if (metadata.blob(digest) === undefined) note({ kind: 'lostBlob', repository: name, digest });
  }
}

/** Manifests that came through a mirror, whose blobs come when they are asked for. */
function mirroredManifests(database: Database, repository: string): ReadonlySet<unknown> {
  const rows = database.statement('SELECT name FROM mirrored_manifests WHERE repository = ?').all(repository);
  return new Set(rows.map((row) => row['name']));
}

async function verifyFiles({ metadata, files }: Store, note: Note, pause: Pause): Promise<void> {
  for (const [digest] of [...metadata.blobs()]) {
    await pause();
    const stamp = await files.stamp(digest);
    const recorded = metadata.blob(digest);
    if (recorded === undefined) continue;
    if (stamp === undefined) note({ kind: 'missingFile', digest });
    else if (!sameStamp(stamp, recorded)) note({ kind: 'changedFile', digest });
  }
  for await (const digests of files.list()) {
    for (const digest of digests) {
      await pause();
      if (metadata.blob(digest) !== undefined) continue;
      // A push puts the file in place before its metadata.
      const stamp = await files.stamp(digest);
      if (stamp !== undefined && metadata.blob(digest) === undefined) note({ kind: 'orphanFile', digest });
    }
  }
}
