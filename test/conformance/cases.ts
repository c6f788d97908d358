import type { Case } from './case.ts';
import { BLOB_DELETION, BLOBS, CONDITIONAL, RANGE_REQUESTS } from './cases/blobs.ts';
import { REFERRERS, TAG_LISTS } from './cases/lists.ts';
import { MANIFEST_DELETION } from './cases/manifest-deletion.ts';
import { MANIFESTS } from './cases/manifests.ts';
import { NAMES } from './cases/names.ts';
import { UPLOADS } from './cases/uploads.ts';

/** What distribution-spec asks of a registry, one requirement each, and of HTTP where it leaves it to RFC 9110. */
export const CASES: readonly Case[] = [
  ...BLOBS,
  ...RANGE_REQUESTS,
  ...CONDITIONAL,
  ...BLOB_DELETION,
  ...UPLOADS,
  ...MANIFESTS,
  ...NAMES,
  ...MANIFEST_DELETION,
  ...TAG_LISTS,
  ...REFERRERS,
];
