import { RegistryError } from '../errors.ts';

/** How long a body may be waited for before its rate counts. */
const GRACE_MS = 60_000;
/** What the slowest of honest links does, in bytes a second of waiting. */
const LEAST_RATE = 1024;
/** A clock that is set forward meanwhile does not make a client slow: silence ends a connection anyway. */
const LONGEST_WAIT_MS = 120_000;

/**
 * The same body, as long as it comes at 1 KiB a second or more: time that the registry spends on what
 * has come does not count. A client that sends a byte now and then would hold its connection for ever.
 *
 * @param now milliseconds
 * @throws RegistryError `RequestTooSlow`
 */
export async function* steady(body: AsyncIterable<Buffer>, now: () => number): AsyncGenerator<Buffer> {
  let bytes = 0;
  let waited = 0;
  let asked = now();
  for await (const chunk of body) {
    waited += Math.min(now() - asked, LONGEST_WAIT_MS);
    bytes += chunk.length;
    if (waited > GRACE_MS && bytes < (waited / 1000) * LEAST_RATE) {
      throw new RegistryError('RequestTooSlow', 'The body comes too slowly.');
    }
    yield chunk;
    asked = now();
  }
}
