/** One challenge of a `WWW-Authenticate` header (RFC 9110, section 11.6.1). */
export interface Challenge {
  /** In lower case. */
  readonly scheme: string;
  /** Names in lower case. */
  readonly parameters: Readonly<Record<string, string>>;
}

const MAX_HEADER = 8192;
const TOKEN = /[!#$%&'*+.^_`|~\w-]+/y;
const PARAMETER = /\s*([!#$%&'*+.^_`|~\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]*))/y;
const SEPARATOR = /[\s,]*/y;

/** Reads every challenge of the header's values. What cannot be read is left out. */
export function parseChallenges(header: string | readonly string[] | undefined): Challenge[] {
  if (header === undefined) return [];
  const values = typeof header === 'string' ? [header] : header;
  return values.flatMap((value) => parseOne(value.slice(0, MAX_HEADER)));
}

function parseOne(text: string): Challenge[] {
  const challenges: Challenge[] = [];
  let at = skip(text, 0);
  while (at < text.length) {
    TOKEN.lastIndex = at;
    const scheme = TOKEN.exec(text)?.[0];
    if (scheme === undefined) break;
    at += scheme.length;
    const parameters: Record<string, string> = Object.create(null) as Record<string, string>;
    for (;;) {
      const next = skip(text, at);
      PARAMETER.lastIndex = next;
      const match = PARAMETER.exec(text);
      if (match === null) {
        at = next;
        break;
      }
      at = PARAMETER.lastIndex;
      parameters[(match[1] ?? '').toLowerCase()] = match[2]?.replace(/\\(.)/g, '$1') ?? match[3] ?? '';
    }
    challenges.push({ scheme: scheme.toLowerCase(), parameters });
  }
  return challenges;
}

function skip(text: string, at: number): number {
  SEPARATOR.lastIndex = at;
  SEPARATOR.exec(text);
  return SEPARATOR.lastIndex;
}
