import { afterEach, describe, expect, it, vi } from 'vitest';
import { createLogger } from './log.ts';

afterEach(() => {
  vi.useRealTimers();
});

describe('the time of a line', () => {
  it.each([
    '2026-01-02T03:04:05.000Z',
    '2026-01-02T03:04:05.007Z',
    '2026-01-02T03:04:05.999Z',
    '2026-01-02T03:04:06.010Z',
    '2025-12-31T23:59:59.100Z',
  ])('is %s when it is that', (time) => {
    vi.useFakeTimers({ now: new Date(time) });
    const lines: string[] = [];
    createLogger({ destination: { write: (line) => void lines.push(line) } }).info('said');
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ time, msg: 'said' });
  });
});
