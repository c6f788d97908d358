/**
 * Canonical YAML: keys sorted, two spaces, no anchors, no folded text. Equal objects give equal
 * bytes on every machine and with every version of every library, which is what the digests of
 * artifacts stand on.
 */
export function emitYaml(value: unknown): string {
  const out: string[] = [];
  emitBlock(value, 0, out);
  return `${out.join('')}\n`;
}

/** A stream of documents, each with its separator. */
export function emitDocuments(documents: readonly unknown[]): string {
  return documents.map((document) => `---\n${emitYaml(document)}`).join('');
}

function emitBlock(value: unknown, depth: number, out: string[]): void {
  if (Array.isArray(value) && value.length > 0) {
    emitList(value, depth, out);
  } else if (isMap(value)) {
    emitMap(value, depth, out);
  } else {
    out.push(emitScalar(value));
  }
}

function emitList(list: readonly unknown[], depth: number, out: string[]): void {
  const indent = '  '.repeat(depth);
  list.forEach((item, index) => {
    if (index > 0) out.push(`\n${indent}`);
    out.push('- ');
    emitBlock(item, depth + 1, out);
  });
}

function emitMap(map: Readonly<Record<string, unknown>>, depth: number, out: string[]): void {
  const indent = '  '.repeat(depth);
  let first = true;
  for (const key of Object.keys(map).sort()) {
    const value = map[key];
    if (value === undefined) continue;
    if (!first) out.push(`\n${indent}`);
    first = false;
    out.push(emitText(key), ':');
    if (isMap(value) || (Array.isArray(value) && value.length > 0)) {
      out.push(`\n${indent}  `);
      emitBlock(value, depth + 1, out);
    } else {
      out.push(' ', emitScalar(value));
    }
  }
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).some((inner) => inner !== undefined)
  );
}

function emitScalar(value: unknown): string {
  if (typeof value === 'string') return emitText(value);
  if (typeof value === 'bigint') return value.toString();
  if (Array.isArray(value)) return '[]';
  if (typeof value === 'object' && value !== null) return '{}';
  return JSON.stringify(value ?? null);
}

/** Text that every YAML version reads as this same text without quotes. */
const PLAIN = /^[A-Za-z_/][\w./@-]*(?::[\w./@-]+)*$/;
/** Words that some YAML version, or some reader, takes for something other than text. */
const RESERVED = /^(?:y|n|yes|no|on|off|true|false|null|e\d+)$/i;
// Characters that JSON leaves as they are and YAML does not allow in a quoted scalar.
const UNPRINTABLE = /[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g;

function emitText(text: string): string {
  if (text.length <= 256 && PLAIN.test(text) && !RESERVED.test(text)) return text;
  return JSON.stringify(text).replace(
    UNPRINTABLE,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
