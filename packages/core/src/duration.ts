import { MuralError } from './errors.ts';

const UNITS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};
const PART = /(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/gy;

/**
 * Reads a duration as Go's `time.ParseDuration` writes it (`1h30m`, `500ms`).
 *
 * @returns milliseconds
 * @throws MuralError `InvalidDuration`
 */
export function parseDuration(text: string): number {
  let total = 0;
  let end = 0;
  PART.lastIndex = 0;
  for (let part = PART.exec(text); part !== null; part = PART.exec(text)) {
    total += Number(part[1]) * (UNITS[part[2] ?? ''] ?? Number.NaN);
    end = PART.lastIndex;
  }
  if (text === '0') return 0;
  if (end === 0 || end !== text.length) {
    throw new MuralError('InvalidDuration', `"${text}" is not a duration`, {
      hint: 'Write a number and a unit, such as 30s, 5m or 1h30m.',
    });
  }
  return total;
}

/** Writes milliseconds as Go would: `1h0m0s`, `5m0s`, `1.5s`, `20ms`. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s';
  if (ms < 1000) return `${trim(ms)}ms`;
  const hours = Math.floor(ms / 3_600_000);
  const minutes = Math.floor((ms % 3_600_000) / 60_000);
  const seconds = `${trim((ms % 60_000) / 1000)}s`;
  if (hours > 0) return `${hours}h${minutes}m${seconds}`;
  return minutes > 0 ? `${minutes}m${seconds}` : seconds;
}

function trim(value: number): string {
  return String(Number(value.toFixed(3)));
}
