import { readFile } from 'node:fs/promises';
import { type Clock, SingleFlight, systemClock } from '@mural/core';
import { invalid } from './schema.ts';

/** How long a token is kept before its source is asked again, as client-go rereads token files. */
const KEEP_MS = 60_000;

/** Keeps what `read` answers for a minute, and lets concurrent callers share one read. */
export function keptToken(
  read: () => Promise<string | undefined>,
  clock: Clock = systemClock,
): () => Promise<string | undefined> {
  const flight = new SingleFlight<string | undefined>();
  let kept: { readonly token: string | undefined; readonly at: number } | undefined;
  return async () => {
    if (kept !== undefined && clock.now() - kept.at < KEEP_MS) return kept.token;
    return await flight.run('', async () => {
      const token = await read();
      kept = { token, at: clock.now() };
      return token;
    });
  };
}

/** The token in a file that somebody else keeps fresh. */
export function fileToken(path: string, clock?: Clock): () => Promise<string | undefined> {
  return keptToken(async () => {
    try {
      return (await readFile(path, 'utf8')).trim();
    } catch (cause) {
      throw invalid(`the token file ${path} cannot be read`, cause);
    }
  }, clock);
}
