import { expect, it } from 'vitest';
import { fuzz } from './run.ts';

const SECONDS = Number(process.env['MURAL_FUZZ_SECONDS'] ?? 10);

it(
  'the registry does what a model of it does, whatever clients send',
  async () => {
    const report = await fuzz(Date.now() % 2 ** 31, SECONDS * 1000);
    expect(report.steps).toBeGreaterThan(20);
  },
  (SECONDS + 30) * 1000,
);
