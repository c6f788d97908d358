import { parseDuration } from '@mural/core';
import { z } from 'zod';

/** A text that is not empty. */
export const Text = z.string().min(1, 'must not be empty');

/** A duration in Go's notation, longer than nothing. */
export const Duration = durationOf((ms) => ms > 0, 'must be a duration, such as 90s, 5m or 1h');

/** A duration in Go's notation that may be nothing. */
export const Pause = durationOf((ms) => ms >= 0, 'must be a duration, such as 30s or 24h, or 0s');

function durationOf(fits: (ms: number) => boolean, error: string) {
  return Text.refine(
    (text) => {
      try {
        return fits(parseDuration(text));
      } catch {
        return false;
      }
    },
    { error },
  );
}
