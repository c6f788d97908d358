import { isIP } from 'node:net';
import { errorMessage, parseDuration } from '@mural/core';
import { InvalidArgumentError } from 'commander';

/** A TCP port; 0 means any free one. */
export function portOption(text: string): number {
  const port = Number(text);
  if (!/^\d{1,5}$/.test(text) || port > 65_535) {
    throw new InvalidArgumentError('It must be a number from 0 to 65535.');
  }
  return port;
}

/** An address to listen on. */
export function addressOption(text: string): string {
  if (text !== 'localhost' && isIP(text) === 0) {
    throw new InvalidArgumentError('It must be an IP address, such as 127.0.0.1 or 0.0.0.0.');
  }
  return text;
}

/** A duration in Go's notation, in milliseconds. */
export function durationOption(text: string): number {
  try {
    return parseDuration(text);
  } catch (error) {
    throw new InvalidArgumentError(`${errorMessage(error)}.`);
  }
}

/** Collects `key=value` pairs, comma-separated or from a repeated option. */
export function pairsOption(
  text: string,
  before: Readonly<Record<string, string>> = {},
): Record<string, string> {
  const pairs = text.split(',').map((pair) => {
    const equals = pair.indexOf('=');
    if (equals <= 0) throw new InvalidArgumentError('It must be key=value.');
    return [pair.slice(0, equals).trim(), pair.slice(equals + 1)] as const;
  });
  return { ...before, ...Object.fromEntries(pairs) };
}
