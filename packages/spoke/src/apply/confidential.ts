import { isRecord } from '@mural/core';
import type { KubeObject } from '@mural/kube';

/** Shorter values are no secrets, and masking them would make nonsense of any text. */
const MIN_LENGTH = 3;
/** A value may be cut off where a message ends: this much of its beginning is enough to know it by. */
const KNOWN_BY = 16;

/**
 * Values that must not reach conditions, events and logs. The API and webhooks quote what they refuse, in
 * plain, escaped or base64.
 */
export class ConfidentialValues {
  readonly #forms = new Set<string>();

  /** Adds a value in all forms in which it may be quoted. */
  add(value: string): void {
    for (const form of [value, JSON.stringify(value).slice(1, -1), Buffer.from(value).toString('base64')]) {
      if (form.length >= MIN_LENGTH) this.#forms.add(form);
    }
  }

  /** Adds the values of a Secret; of other objects nothing. */
  addSecret(object: KubeObject & Readonly<Record<string, unknown>>): void {
    if (object.kind !== 'Secret') return;
    const { data, stringData } = object;
    for (const value of stringsOf(data)) {
      this.add(value);
      this.add(Buffer.from(value, 'base64').toString('utf8'));
    }
    for (const value of stringsOf(stringData)) this.add(value);
  }

  /** The text with `***` in place of every value, and of the beginning of one that was cut off. */
  mask(text: string): string {
    let masked = text;
    const longestFirst = [...this.#forms].sort((a, b) => b.length - a.length);
    for (const form of longestFirst) masked = maskOne(masked, form);
    return masked;
  }
}

function maskOne(text: string, value: string): string {
  const head = value.slice(0, KNOWN_BY);
  let result = '';
  let position = 0;
  for (;;) {
    const found = text.indexOf(head, position);
    if (found < 0) return result + text.slice(position);
    let end = found + head.length;
    while (end < text.length && end - found < value.length && text[end] === value[end - found]) end += 1;
    result += `${text.slice(position, found)}***`;
    position = end;
  }
}

function stringsOf(data: unknown): string[] {
  return isRecord(data) ? Object.values(data).filter((value) => typeof value === 'string') : [];
}
