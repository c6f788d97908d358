import { defineConfig } from 'vitest/config';

/** Tests with other people's programs: one file after another, since each starts whole systems. */
export default defineConfig({
  test: {
    include:
      process.env.MURAL_INTEROP === 'full'
        ? ['test/full/**/*.test.ts']
        : ['test/interop/**/*.test.ts', 'packages/*/src/**/*.interop.test.ts'],
    pool: 'forks',
    fileParallelism: false,
    testTimeout: 180_000,
    hookTimeout: 180_000,
  },
});
