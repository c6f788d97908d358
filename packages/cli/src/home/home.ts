import { type Clock, systemClock } from '@mural/core';
import { createFolders, type Layout, layoutOf } from './layout.ts';
import { lockFolder } from './lock.ts';
import { type Logs, type LogSettings, openLogs } from './logs.ts';
import { Stack } from './stack.ts';

/** A process that serves. */
export interface RunningHome<Facts> {
  readonly facts: Facts;
  /** Stops everything within 10 s. */
  stop(): Promise<void>;
}

/** What the parts of a home share. */
export interface Home {
  readonly clock: Clock;
  readonly layout: Layout;
  readonly logs: Logs;
  /** Where each part that was started says how it is stopped. */
  readonly stack: Stack;
}

/** Where a home lives. */
export interface HomeOptions {
  readonly dataDir: string;
  readonly log: LogSettings;
  readonly clock?: Clock | undefined;
}

const STOP_DEADLINE_MS = 8000;

/**
 * Opens a data folder for this process alone and puts a home together in it. When that fails,
 * everything started until then is stopped again.
 *
 * @throws CliError `DataDirInUse`, and what `assemble` throws
 */
export async function openHome<Facts>(
  options: HomeOptions,
  folders: Parameters<typeof createFolders>[1],
  assemble: (home: Home) => Promise<Facts>,
): Promise<RunningHome<Facts>> {
  const clock = options.clock ?? systemClock;
  const layout = layoutOf(options.dataDir);
  await createFolders(layout, folders);
  const lock = lockFolder(layout.lock, layout.root);
  const logs = await openLogs(layout.logs, options.log, clock);
  const stack = new Stack(logs.main);
  stack.push('lock', () => lock.release());
  stack.push('logs', async () => logs.close());
  try {
    const facts = await assemble({ clock, layout, logs, stack });
    return { facts, stop: async () => stack.stop(STOP_DEADLINE_MS) };
  } catch (error) {
    await stack.stop(STOP_DEADLINE_MS);
    throw error;
  }
}
