/** `retention[0].tags` as keys and indices. */
export function pathOf(at: string): (string | number)[] {
  return at
    .split(/[.[\]]+/)
    .filter((step) => step !== '')
    .map((step) => (/^\d+$/.test(step) ? Number(step) : step));
}
