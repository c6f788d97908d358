import { RegistrySetupError } from '@mural/registry';
import type { Path } from './document.ts';

/** Takes what is wrong, and where it stands. */
export type Report = (path: Path, message: string) => void;

/**
 * Has the registry check what a section came to, and reports what it refuses where the registry says
 * that it stands.
 *
 * @param section leads to what the registry counts its places from
 */
export function checked(section: Path, report: Report, check: () => void): void {
  try {
    check();
  } catch (error) {
    if (!(error instanceof RegistrySetupError)) throw error;
    const at = typeof error.facts['at'] === 'string' ? error.facts['at'] : '';
    report([...section, ...pathOf(at)], error.message.replace(at, '').trim().replace(/\.$/, ''));
  }
}

/** `retention[0].tags` as keys and indices. */
function pathOf(at: string): (string | number)[] {
  return at
    .split(/[.[\]]+/)
    .filter((step) => step !== '')
    .map((step) => (/^\d+$/.test(step) ? Number(step) : step));
}
