/** Text in columns, as kubectl prints it: upper-case heads, three blanks between. */
export function formatTable(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [heads, ...rows];
  const widths = heads.map((_, column) => Math.max(...lines.map((line) => (line[column] ?? '').length)));
  return lines
    .map((line) =>
      line
        .map((cell, column) => (column === line.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
        .join('   ')
        .trimEnd(),
    )
    .join('\n')
    .concat('\n');
}

/** How long ago, in the largest fitting unit, as kubectl writes ages: 12s, 5m, 3h, 8d. */
export function formatAge(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

/** The first twelve hexadecimal digits of a digest, enough to tell revisions apart. */
export function shortDigest(digest: string | undefined): string {
  if (digest === undefined || digest === '') return '-';
  const colon = digest.indexOf(':');
  return digest.slice(colon + 1, colon + 13);
}
