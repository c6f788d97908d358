import { randomBytes } from 'node:crypto';
import { sessionOf } from './answers.ts';
import type { Call, Caller } from './caller.ts';
import { digestOf } from './digest.ts';
import { OciError } from './errors.ts';
import { discard } from './transport.ts';

/** The steps of an upload: begin it (end-4a), send bytes (end-5), end it under a digest (end-6). */
export type UploadStep = 'begin' | 'send' | 'end';

/** What came of each step that was tried: `undefined` where it was taken. */
export type UploadTrial = Readonly<Partial<Record<UploadStep, OciError | undefined>>>;

const BYTES = 32;
const CANCEL_MS = 10_000;

/**
 * Tries every step of an upload and leaves no blob: the end names a digest that the bytes do not have,
 * which a registry refuses after it has asked itself whether the caller may do that at all.
 *
 * @param begin the call that begins the upload
 * @throws the reason of `signal` when that aborts
 */
export async function tryUpload(
  caller: Caller,
  begin: Call<URL>,
  signal: AbortSignal | undefined,
): Promise<UploadTrial> {
  const started = await attempt(caller, begin, signal);
  if (started.error !== undefined) return { begin: started.error };
  const session = started.value;
  const common = { scope: begin.scope, subject: 'upload', what: begin.what } as const;
  const bytes = randomBytes(BYTES);
  const headers = {
    'content-type': 'application/octet-stream',
    'content-length': String(BYTES),
    'content-range': `0-${BYTES - 1}`,
  };
  const send = { ...common, method: 'PATCH', url: session, headers, body: () => bytes } as const;
  // The specification has 202, ECR says 201.
  const sent = await attempt(caller, { ...send, expect: [201, 202, 204], read: sessionOf }, signal);
  const at = new URL(sent.value ?? session);
  at.searchParams.set('digest', digestOf(randomBytes(BYTES)));
  const end = { ...common, method: 'PUT', url: at, headers: { 'content-length': '0' } } as const;
  const ended = await attempt(caller, { ...end, expect: [201, 204], read: discard }, signal);
  await cancel(caller, { ...common, method: 'DELETE', url: session, expect: [202, 204], read: discard });
  return { begin: undefined, send: sent.error, end: ended.error };
}

async function attempt<T>(
  caller: Caller,
  call: Call<T>,
  signal: AbortSignal | undefined,
): Promise<
  { readonly value: T; readonly error?: undefined } | { readonly value?: undefined; readonly error: OciError }
> {
  try {
    return { value: await caller.run(call, signal) };
  } catch (error) {
    if (error instanceof OciError && signal?.aborted !== true) return { error };
    throw error;
  }
}

/** ECR knows no giving up, and others have forgotten the session already: both is fine. */
async function cancel(caller: Caller, call: Call<void>): Promise<void> {
  await caller.exchange(call, AbortSignal.timeout(CANCEL_MS)).catch(() => undefined);
}
