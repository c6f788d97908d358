import type { Logger } from '@mural/core';
import { type EventRecorder, MURAL_NAMESPACE } from '@mural/kube';
import { VALUES_SECRET } from './values-store.ts';

/** What became of a values document. */
export interface Verdict {
  /** The text that was judged; `undefined` where there is none. */
  readonly text: string | undefined;
  /** `Waiting`: in force but for `zot.enabled: false`, which follows by itself. */
  readonly state: 'InForce' | 'Waiting' | 'Invalid' | 'Failed';
  /** For people, without secrets. */
  readonly message: string;
}

const WORDS = {
  InForce: { type: 'Normal', reason: 'ValuesInForce', what: 'values are in force' },
  Waiting: {
    type: 'Warning',
    reason: 'RegistryInUse',
    what: 'the embedded registry cannot be stopped yet',
  },
  Invalid: {
    type: 'Warning',
    reason: 'ValuesInvalid',
    what: 'values are not valid; the former ones stay in force',
  },
  Failed: {
    type: 'Warning',
    reason: 'ValuesNotApplied',
    what: 'values could not be applied; the former ones stay in force',
  },
} as const;

/** Says in an event about the Secret, and in the log, what became of its values. */
export function tellVerdict({ state, message }: Verdict, events: EventRecorder, log: Logger): void {
  const { type, reason, what } = WORDS[state];
  const metadata = { name: VALUES_SECRET, namespace: MURAL_NAMESPACE };
  events.event({ apiVersion: 'v1', kind: 'Secret', metadata }, type, reason, `${what}: ${message}`);
  log[type === 'Normal' ? 'info' : 'warn']({ reason, detail: message }, what);
}

/** Why `zot.enabled: false` waits. */
export interface Waiting {
  /** Spokes whose own objects name the embedded registry. */
  readonly pinned: readonly string[];
  /** The spokes that still read it, in words; empty when there are none. */
  readonly dependents: string;
  /** Since when the registry is another, where it was the embedded one before. */
  readonly since: string | undefined;
  readonly migrating: boolean;
}

/** The refusal in words. */
export function refusalOf({ pinned, dependents, since, migrating }: Waiting): string {
  const who =
    pinned.length > 0 ? `${pinned.join(', ')} (by spec.ociRegistry of the Spoke itself)` : dependents;
  const change = since === undefined ? '' : ` (the registry is another since ${since})`;
  const under = migrating ? '; a migration of the registry is under way' : '';
  const needed =
    who === '' ? 'the embedded registry is still needed' : `the embedded registry is still needed by ${who}`;
  return `zot.enabled: false is refused for now: ${needed}${change}${under}. It is stopped by itself as soon as nobody needs it`;
}
