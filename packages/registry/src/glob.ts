/**
 * A pattern for names: `*` stands for any characters but those at which names are divided, `**` for
 * any at all; the rest is literal, and the whole name must fit.
 *
 * @param dividers a slash unless told
 */
export function globPattern(glob: string, dividers = '/'): RegExp {
  const source = glob
    .split(/(\*\*|\*)/)
    .map((part) =>
      part === '**' ? '.*' : part === '*' ? `[^${dividers}]*` : part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'),
    )
    .join('');
  return new RegExp(`^${source}$`, 's');
}
