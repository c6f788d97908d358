import { parseDuration } from '@mural/core';
import {
  checkMaintenance,
  type MaintenanceOptions,
  type QuotaRule,
  type RetentionRule,
} from '@mural/registry';
import { z } from 'zod';
import { checked, type Report } from './checked.ts';
import { Pause } from './fields.ts';

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
export function maintenanceOf(section: MaintenanceSection | undefined, report: Report): MaintenanceOptions {
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
  checked(['maintenance'], report, () => checkMaintenance(options));
  return options;
}
