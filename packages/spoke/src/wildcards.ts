/** In a pattern: any number of items, none included. */
export const MANY = Symbol('any number of items');

/**
 * Whether the whole of `items` fits a pattern of single items and {@link MANY}. Takes at most as many steps as
 * pattern and items have lengths multiplied, whatever the pattern: a regular expression made of it could
 * take exponentially many, and patterns come with artifacts.
 */
export function matchesWild<P, T>(
  pattern: readonly (P | typeof MANY)[],
  items: readonly T[],
  matches: (part: P, item: T) => boolean,
): boolean {
  let [part, item] = [0, 0];
  let [many, resumeAt] = [-1, 0];
  while (item < items.length) {
    const wanted = pattern[part];
    if (wanted === MANY) {
      many = part;
      resumeAt = item;
      part += 1;
    } else if (part < pattern.length && matches(wanted as P, items[item] as T)) {
      part += 1;
      item += 1;
    } else if (many >= 0) {
      // The last MANY takes one item more. Those before it need never give way: they fit as early as can be.
      resumeAt += 1;
      item = resumeAt;
      part = many + 1;
    } else return false;
  }
  return pattern.slice(part).every((rest) => rest === MANY);
}
