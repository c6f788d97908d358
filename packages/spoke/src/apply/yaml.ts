import { MuralError } from '@mural/core';
import { isMap, parseAllDocuments, parseDocument, type ScalarTag, type Tags, visit } from 'yaml';

/** Why text is not what a manifest may be. */
export class ManifestError extends MuralError<'ManifestInvalid'> {
  constructor(message: string, options: { readonly cause?: unknown } = {}) {
    super('ManifestInvalid', message, options);
  }
}

/** Kubernetes reads YAML 1.1: `yes` and `on` are booleans … */
const oldBoolean: ScalarTag = {
  tag: 'tag:yaml.org,2002:bool',
  default: true,
  identify: (value) => typeof value === 'boolean',
  test: /^(?:[Yy]es|YES|[Oo]n|ON|[Nn]o|NO|[Oo]ff|OFF)$/,
  resolve: (text) => /^(?:yes|on)$/i.test(text),
};
/** … and `0755` is octal. */
const oldOctal: ScalarTag = {
  tag: 'tag:yaml.org,2002:int',
  default: true,
  format: 'OCT',
  test: /^[-+]?0[0-7_]+$/,
  resolve: (text) => {
    const digits = text.replaceAll(/[-+_]/g, '');
    return (text.startsWith('-') ? -1 : 1) * Number.parseInt(digits, 8);
  },
};
const OPTIONS = {
  merge: true,
  strict: true,
  uniqueKeys: true,
  prettyErrors: false,
  customTags: (tags: Tags): Tags => [oldBoolean, oldOctal, ...tags],
} as const;
/** An alias repeats what it names; this many are more than any manifest has and too few to exhaust memory. */
const MAX_ALIASES = 1000;

/**
 * Every document of a manifest as a value, by Kubernetes' reading of YAML. Empty documents are left out.
 *
 * @param file the name that errors give
 * @throws ManifestError with file and line
 */
export function parseManifests(text: string, file: string): unknown[] {
  // What is JSON needs no YAML parser, which is a hundred times slower.
  if (text.trimStart().startsWith('{')) {
    const json = parseJson(text);
    if (json !== undefined) return [json];
  }
  const documents = parseAllDocuments(text, OPTIONS);
  if ('empty' in documents) return [];
  const values: unknown[] = [];
  for (const document of documents) {
    const [error] = document.errors;
    if (error !== undefined) {
      const line = text.slice(0, error.pos[0]).split('\n').length;
      throw new ManifestError(`${file}:${line}: ${error.message}`, { cause: error });
    }
    try {
      const value: unknown = document.toJS({ maxAliasCount: MAX_ALIASES });
      if (value !== null && value !== undefined) values.push(value);
    } catch (cause) {
      throw new ManifestError(`${file}: the document cannot be read as a value`, { cause });
    }
  }
  return values;
}

/** One document, as {@link parseManifests} reads it. */
export function parseOne(text: string, what: string): unknown {
  const document = parseDocument(text, OPTIONS);
  const [error] = document.errors;
  if (error !== undefined) throw new ManifestError(`${what}: ${error.message}`, { cause: error });
  return document.toJS({ maxAliasCount: MAX_ALIASES });
}

/**
 * A value as YAML that Kubernetes reads back as the same value: block style, one line a scalar, and
 * quotes around whatever YAML 1.1 would take for something other than a string.
 */
export function writeYaml(value: unknown): string {
  const document = parseDocument('', OPTIONS);
  document.contents = document.createNode(value) as never;
  visit(document, {
    Collection(_key, node) {
      if (isMap(node)) node.flow = false;
    },
  });
  return document.toString({ lineWidth: 0 });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
