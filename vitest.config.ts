import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['packages/*/src/**/*.test.ts', 'test/**/*.test.ts'],
    exclude: ['test/interop/**', 'test/full/**', '**/*.interop.test.ts', '**/node_modules/**'],
    isolate: false,
    pool: 'threads',
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
