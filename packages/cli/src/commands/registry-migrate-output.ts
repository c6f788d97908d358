import type { MigrationEvent, MigrationPreview } from '@mural/hub';
import type { Context } from '../context.ts';

/** Prints what a migration tells, for people or for programs. */
export interface Progress {
  readonly event: (event: MigrationEvent) => void;
  /** A line that is no event: what to do next. */
  readonly say: (line: string) => void;
}

const EVERY = 100;

/** Progress as text on stderr, or as lines of JSON on stdout. */
export function progressTo(context: Context, format: 'text' | 'json', now: () => number): Progress {
  if (format === 'json') {
    const write = (fact: object) =>
      context.out(`${JSON.stringify({ time: new Date(now()).toISOString(), ...fact })}\n`);
    return { event: write, say: (message) => write({ type: 'message', message }) };
  }
  return { event: (event) => context.err(textOf(event)), say: (line) => context.out(`${line}\n`) };
}

function textOf(event: MigrationEvent): string {
  if (event.type === 'step') return `${event.step === 'done' ? '✔' : '►'} ${event.step}: ${event.message}\n`;
  if (event.type === 'spoke') return `  ✔ ${event.spoke} reads ${event.url}\n`;
  if (event.type === 'warning') return `  warning: ${event.message}\n`;
  const { done, total, bytes } = event;
  if (done !== total && done % EVERY !== 0) return '';
  return `  ${done}/${total} artifacts are there and proven, ${size(bytes)} sent\n`;
}

/** The preview in lines. */
export function previewText(preview: MigrationPreview, needSecrets: readonly string[]): string {
  const { spokes, waves } = preview;
  const lines = [
    `from ${preview.source}`,
    `to   ${preview.target}`,
    `phase      ${preview.phase}`,
    `artifacts  ${preview.artifacts} in use, ${preview.toCopy} to copy, ${size(preview.bytes)}`,
    `spokes     ${spokes.toMove.length} to move, ${spokes.moved.length} moved already`,
    ...(waves.length === 0 ? [] : [`waves      ${waves.length}: ${shortened(waves)}`]),
    ...list('not heard at present; waited for in the last waves', spokes.unheard),
    ...list(
      'never reported or suspended; stay, and the old registry with them, unless --assume-switched',
      spokes.silent,
    ),
    ...list('need Secrets in their clusters before (--print-secrets)', needSecrets),
    ...list('no registry has the artifact of', preview.missing),
    ...preview.warnings.map((warning) => `warning: ${warning}`),
    'Nothing was changed.',
  ];
  return `${lines.join('\n')}\n`;
}

function list(what: string, names: readonly string[]): string[] {
  return names.length === 0 ? [] : [`${what}: ${shortened(names)}`];
}

const SHOWN = 20;

function shortened(items: readonly (string | number)[]): string {
  const more = items.length > SHOWN ? `, and ${items.length - SHOWN} more` : '';
  return `${items.slice(0, SHOWN).join(', ')}${more}`;
}

function size(bytes: number): string {
  if (bytes < 1024) return `${bytes} bytes`;
  const mebibytes = bytes / 1024 / 1024;
  return mebibytes < 1 ? `${(bytes / 1024).toFixed(1)} KiB` : `${mebibytes.toFixed(1)} MiB`;
}
