import { createHash } from 'node:crypto';
import { canonicalJson, type Clock, errorMessage, jsonEqual, type Logger, parseDuration } from '@mural/core';
import {
  type ConditionInput,
  createCache,
  createController,
  type EventRecorder,
  type KubeClient,
  MURAL_NAMESPACE,
  RECONCILE_REQUEST_ANNOTATION,
  type ReconcileResult,
  setCondition,
} from '@mural/kube';
import { stringify } from 'yaml';
import { HELM_RELEASES, type HelmRelease, type HelmReleaseStatus } from './helm-release.ts';
import { releaseValues } from './release-values.ts';
import { errorLines, readValues, type ValuesDocument } from './values-document.ts';
import type { ValuesInForce } from './values-in-force.ts';
import type { ValuesStore } from './values-store.ts';

export interface ReleaseControllerOptions {
  readonly client: KubeClient;
  readonly store: ValuesStore;
  readonly inForce: ValuesInForce;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The release of the hub; other HelmReleases are left alone. */
const RELEASE = 'mural';
const KEY = `${MURAL_NAMESPACE}/${RELEASE}`;
const MANAGER = 'mural-up';
/** How findings name the document that is made of a release. */
const FILE = `HelmRelease/${RELEASE}`;
const DEFAULT_INTERVAL_MS = 5 * 60_000;
const MIN_INTERVAL_MS = 1000;
const ITSELF = 'this hub takes the values of its release itself; no chart is installed';

/** What became of a release. */
interface Conclusion {
  readonly ready: 'True' | 'False' | 'Unknown';
  readonly reason: 'UpgradeSucceeded' | 'UpgradeFailed' | 'Progressing';
  readonly message: string;
  readonly digest?: string | undefined;
}

/**
 * Takes the values of the HelmRelease `mural` in the hub's namespace into force when they change, and
 * says in its conditions what became of them. As with Flux, values that did not change are not taken
 * again over what others put into force since.
 *
 * @returns how it is stopped
 */
export function startReleaseController(options: ReleaseControllerOptions): () => Promise<void> {
  const { client, clock, log, inForce } = options;
  const releases = createCache<HelmRelease>({
    client,
    resource: HELM_RELEASES,
    namespace: MURAL_NAMESPACE,
    fieldSelector: `metadata.name=${RELEASE}`,
    clock,
    log,
  });
  const controller = createController<HelmRelease>({
    name: 'helmrelease',
    primary: releases,
    reconcile: async (key, signal) => reconcile(options, releases.get(key), signal),
    concurrency: 1,
    backoff: { baseMs: 1000, capMs: 5 * 60_000 },
    clock,
    log,
  });
  releases.start();
  controller.start();
  const forget = inForce.onVerdict(() => controller.enqueue(KEY));
  return async () => {
    forget();
    await controller.stop();
    await releases.stop();
  };
}

async function reconcile(
  options: ReleaseControllerOptions,
  release: HelmRelease | undefined,
  signal: AbortSignal,
): Promise<ReconcileResult | undefined> {
  if (release === undefined || release.spec?.suspend === true) return undefined;
  if (release.metadata.deletionTimestamp !== undefined) return undefined;
  const conclusion = await conclude(options, release);
  await report(options, release, conclusion, signal);
  return { requeueAfterMs: intervalOf(release) };
}

async function conclude(options: ReleaseControllerOptions, release: HelmRelease): Promise<Conclusion> {
  let values: Record<string, unknown>;
  try {
    values = await releaseValues(options.client, release);
  } catch (error) {
    return { ready: 'False', reason: 'UpgradeFailed', message: errorMessage(error) };
  }
  const digest = `sha256:${createHash('sha256').update(canonicalJson(values)).digest('hex')}`;
  const asked = readValues(stringify(values), FILE);
  if (asked.document === undefined) {
    const message = `the values are not valid; the former ones stay in force: ${errorLines(asked.findings)}`;
    return { ready: 'False', reason: 'UpgradeFailed', message, digest };
  }
  const { text, warning } = await options.inForce.afterMigration(asked.document.text ?? '', FILE);
  const isNew = digest !== release.status?.lastAttemptedConfigDigest;
  if (isNew) await options.store.write(text);
  const wanted = readValues(text, FILE).document ?? asked.document;
  const told = warning === undefined ? '' : `. ${warning}`;
  const conclusion = judge(options.inForce, wanted, isNew);
  return { ...conclusion, message: `${conclusion.message}${told}`, digest };
}

/** What the home made of values that stand in the Secret. */
function judge(inForce: ValuesInForce, wanted: ValuesDocument, isNew: boolean): Conclusion {
  const { verdict } = inForce;
  const judged = verdict.text === undefined ? undefined : readValues(verdict.text, FILE).document;
  if (judged === undefined || !jsonEqual(judged.values, wanted.values)) {
    return isNew
      ? { ready: 'Unknown', reason: 'Progressing', message: `the values are being put into force; ${ITSELF}` }
      : {
          ready: 'True',
          reason: 'UpgradeSucceeded',
          message: `the values were in force; others were put into force since by other means. ${ITSELF}`,
        };
  }
  if (verdict.state === 'InForce') {
    const message = `the values are in force: ${verdict.message}; ${ITSELF}`;
    return { ready: 'True', reason: 'UpgradeSucceeded', message };
  }
  return { ready: 'False', reason: 'UpgradeFailed', message: verdict.message };
}

async function report(
  { client, clock, events }: ReleaseControllerOptions,
  release: HelmRelease,
  { ready, reason, message, digest }: Conclusion,
  signal: AbortSignal,
): Promise<void> {
  const { generation = 0, annotations } = release.metadata;
  const before = release.status;
  const condition = (type: string): ConditionInput => ({
    ...{ type, status: ready, reason, message },
    observedGeneration: generation,
  });
  const now = clock.now();
  const conditions = setCondition(
    setCondition(before?.conditions, condition('Ready'), now),
    condition('Released'),
    now,
  );
  const requested = annotations?.[RECONCILE_REQUEST_ANNOTATION];
  const status: HelmReleaseStatus = {
    ...before,
    observedGeneration: generation,
    conditions,
    lastAttemptedGeneration: generation,
    ...(digest === undefined ? {} : { lastAttemptedConfigDigest: digest }),
    ...(requested === undefined ? {} : { lastHandledReconcileAt: requested }),
  };
  if (jsonEqual(status, before)) return;
  const ref = { name: RELEASE, namespace: MURAL_NAMESPACE };
  const options = { fieldManager: MANAGER, subresource: 'status', signal };
  await client.patch(HELM_RELEASES, ref, 'merge', { status }, options);
  if (!jsonEqual(conditions, before?.conditions) && ready !== 'Unknown') {
    events.event(release, ready === 'True' ? 'Normal' : 'Warning', reason, message);
  }
}

function intervalOf(release: HelmRelease): number {
  try {
    const ms = parseDuration(release.spec?.interval ?? '');
    return Math.max(MIN_INTERVAL_MS, ms);
  } catch {
    return DEFAULT_INTERVAL_MS;
  }
}
