import { spawnSync } from 'node:child_process';
import { runVitest } from './vitest.ts';

/**
 * What `npm test` runs: lint, formatting, types, then every test that needs nothing but Node. Each
 * check counts as one; the last line is the summary. Further arguments go to vitest.
 */
const checks = [
  { name: 'lint', command: ['eslint', '.', '--max-warnings', '0'] },
  { name: 'format', command: ['biome', 'format', '.'] },
  { name: 'types', command: ['tsc', '--noEmit', '-p', 'tsconfig.json'] },
];

let passed = 0;
let failed = 0;
for (const { name, command } of checks) {
  const [program = '', ...args] = command;
  const start = performance.now();
  const run = spawnSync(program, args, { stdio: 'inherit' });
  const ok = run.status === 0;
  if (ok) passed += 1;
  else failed += 1;
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  const why = run.error === undefined ? '' : `: ${run.error.message}`;
  console.log(`${ok ? 'passed' : 'FAILED'}  ${name} (${seconds} s)${why}`);
}

const tests = runVitest(process.argv.slice(2));
passed += tests.passed;
failed += tests.failed;
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
