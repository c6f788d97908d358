import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What a test run came to. */
export interface Totals {
  readonly passed: number;
  readonly failed: number;
}

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numFailedTestSuites: number;
  readonly success: boolean;
}

/**
 * Runs vitest with the arguments and counts its results. A file that could not be run counts as a
 * failure, and in CI so does a test that was skipped: nothing is left out in silence.
 */
export function runVitest(args: readonly string[]): Totals {
  const directory = mkdtempSync(join(tmpdir(), 'mural-vitest-'));
  const output = join(directory, 'report.json');
  try {
    const run = spawnSync(
      process.execPath,
      [
        '--disable-warning=ExperimentalWarning',
        'node_modules/vitest/vitest.mjs',
        'run',
        '--reporter=default',
        '--reporter=json',
        `--outputFile.json=${output}`,
        ...args,
      ],
      { stdio: 'inherit' },
    );
    const report = JSON.parse(readFileSync(output, 'utf8')) as Report;
    const skipped = process.env.CI === undefined ? 0 : report.numPendingTests;
    const failed = report.numFailedTests + skipped;
    const broken = failed === 0 && (run.status !== 0 || !report.success) ? 1 : 0;
    return { passed: report.numPassedTests, failed: failed + broken };
  } catch (error) {
    console.error('vitest left no report:', error);
    return { passed: 0, failed: 1 };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
