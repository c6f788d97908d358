import { stat } from 'node:fs/promises';
import { type Clock, errorMessage, type Logger } from '@mural/core';

/** Which files are watched, and what is done when one of them changes. */
export interface WatchOptions {
  /** Asked each time, since what is read can name other files. */
  readonly files: () => readonly string[];
  /** Puts the new content to use. When it throws, what was in use stays. */
  readonly changed: () => Promise<void>;
  readonly clock: Clock;
  readonly log: Logger;
}

const EVERY_MS = 2000;

/**
 * Looks every two seconds whether a file was changed, replaced or removed. It compares what the names
 * lead to, so that links that are moved, as Kubernetes does for its volumes, are seen too.
 *
 * @returns how it is stopped
 */
export async function watchFiles(options: WatchOptions): Promise<() => void> {
  const stop = new AbortController();
  const first = await signatures(options.files());
  void watch(options, first, stop.signal);
  return () => stop.abort();
}

async function watch(options: WatchOptions, first: string, signal: AbortSignal): Promise<void> {
  const { clock, log } = options;
  let before = first;
  for (;;) {
    try {
      await clock.sleep(EVERY_MS, signal);
    } catch {
      return;
    }
    const now = await signatures(options.files());
    if (now === before) continue;
    try {
      await options.changed();
      log.info({ files: options.files() }, 'changed files are in use');
    } catch (error) {
      log.error({ error: errorMessage(error) }, 'changed files cannot be used; what was in use stays');
    }
    // What was looked at before the change was read: a change in the meantime is seen the next time.
    before = now;
  }
}

async function signatures(files: readonly string[]): Promise<string> {
  const all = await Promise.all(
    files.map(async (file) => {
      try {
        const { mtimeMs, ctimeMs, size, ino, dev } = await stat(file);
        return [mtimeMs, ctimeMs, size, ino, dev].join(' ');
      } catch {
        return 'none';
      }
    }),
  );
  return all.join('\n');
}
