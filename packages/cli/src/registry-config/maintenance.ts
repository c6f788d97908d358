import { parseDuration } from '@mural/core';
import {
  checkMaintenance,
  type MaintenanceOptions,
  type QuotaRule,
  RegistrySetupError,
  type RetentionRule,
} from '@mural/registry';
import { z } from 'zod';
import type { Path } from './document.ts';
import { pathOf } from './fact-path.ts';

const Pause = z.string().refine(
  (text) => {
    try {
      return parseDuration(text) >= 0;
    } catch {
      return false;
    }
  },
  { error: 'must be a duration, such as 1h or 24h, or 0s for never' },
);

/** What is kept, collected and scrubbed. The rules are the registry's to check. */
export const MaintenanceSection = z.strictObject({
  /** How long what nothing needs stays. */
  grace: Pause.optional(),
  collectEvery: Pause.optional(),
  scrubEvery: Pause.optional(),
  scrubBytesPerSecond: z.int().min(1).optional(),
  retention: z.array(z.unknown()).optional(),
  quotas: z.array(z.unknown()).optional(),
});

/** The section as it stands in a configuration. */
export type MaintenanceSection = z.infer<typeof MaintenanceSection>;

/**
 * What a section comes to.
 *
 * @param report takes what is wrong with a rule, and where it stands
 */
export function maintenanceOf(
  section: MaintenanceSection | undefined,
  report: (path: Path, message: string) => void,
): MaintenanceOptions {
  if (section === undefined) return {};
  const { grace, collectEvery, scrubEvery, scrubBytesPerSecond, retention, quotas } = section;
  const ms = (name: string, text: string | undefined): object =>
    text === undefined ? {} : { [name]: parseDuration(text) };
  const options: MaintenanceOptions = {
    ...ms('graceMs', grace),
    ...ms('collectEveryMs', collectEvery),
    ...ms('scrubEveryMs', scrubEvery),
    ...(scrubBytesPerSecond === undefined ? {} : { scrubBytesPerSecond }),
    ...(retention === undefined ? {} : { retention: retention as RetentionRule[] }),
    ...(quotas === undefined ? {} : { quotas: quotas as QuotaRule[] }),
  };
  try {
    checkMaintenance(options);
  } catch (error) {
    if (!(error instanceof RegistrySetupError)) throw error;
    const at = typeof error.facts['at'] === 'string' ? error.facts['at'] : '';
    const message = error.message.replace(at, '').trim().replace(/\.$/, '');
    report(['maintenance', ...pathOf(at)], message);
  }
  return options;
}
