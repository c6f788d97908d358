import { once } from 'node:events';
import { type Context, pathOf } from '../context.ts';
import { removeReadyFile, writeReadyFile } from '../home/ready-file.ts';

/** What `--log-level` takes. */
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'];

/**
 * Runs a service until the command is told to stop: starts it, says so in the ready file, waits,
 * takes the file away and stops the service.
 */
export async function runUntilStopped(
  context: Context,
  readyFile: string | undefined,
  start: () => Promise<{ readonly facts: object; stop(): Promise<void> }>,
): Promise<void> {
  const path = readyFile === undefined ? undefined : pathOf(context, readyFile);
  await removeReadyFile(path);
  const service = await start();
  try {
    await writeReadyFile(path, { ...service.facts });
    if (!context.signal.aborted) await once(context.signal, 'abort');
  } finally {
    await removeReadyFile(path);
    await service.stop();
  }
}
