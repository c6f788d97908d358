import { createHash } from 'node:crypto';
import { parseManifests } from './yaml.ts';

/** Characters of JSON that are kept: enough for the root of a spoke with thousands of workloads. */
const LIMIT = 16 * 1024 * 1024;

const parsed = new Map<string, string>();
let size = 0;

/**
 * As `parseManifests`, remembering what it read by content: of a root with hundreds of files, a change
 * touches a few, and reading YAML is the dearest part of a build.
 *
 * @throws ManifestError with file and line
 */
export function parseManifestsOnce(text: string, file: string): unknown[] {
  const key = createHash('sha256').update(text).digest('base64');
  const known = parsed.get(key);
  if (known !== undefined) {
    parsed.delete(key);
    parsed.set(key, known);
    return JSON.parse(known) as unknown[];
  }
  const values = parseManifests(text, file);
  keep(key, JSON.stringify(values));
  return values;
}

function keep(key: string, json: string): void {
  if (json.length > LIMIT / 4) return;
  parsed.set(key, json);
  size += json.length;
  for (const [oldest, old] of parsed) {
    if (size <= LIMIT) break;
    parsed.delete(oldest);
    size -= old.length;
  }
}
