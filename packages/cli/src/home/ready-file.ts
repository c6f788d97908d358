import { rm } from 'node:fs/promises';
import { writeFileAtomic } from '@mural/core';

/**
 * Says that everything serves: a JSON file, written whole, by rename.
 *
 * @param path where; without one, nothing is written
 */
export async function writeReadyFile(
  path: string | undefined,
  facts: Readonly<Record<string, string>>,
): Promise<void> {
  if (path !== undefined) await writeFileAtomic(path, `${JSON.stringify(facts, null, 2)}\n`);
}

/** Takes the file away: nothing serves any more, or not yet. */
export async function removeReadyFile(path: string | undefined): Promise<void> {
  if (path !== undefined) await rm(path, { force: true });
}
