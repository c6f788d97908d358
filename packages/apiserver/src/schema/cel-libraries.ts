import { isIP } from 'node:net';
import { jsonEqual } from '@mural/core';
import type { Environment } from '@marcbachmann/cel-js';
import { isCidr } from './formats.ts';
import { compiledPattern } from './pattern.ts';
import { isQuantity, nanoUnits } from './quantity.ts';

/** A quantity in an expression, in nano units. */
export class CelQuantity {
  readonly nano: bigint;

  constructor(nano: bigint) {
    this.nano = nano;
  }
}

const UNIT = 1_000_000_000n;

/** Adds what Kubernetes' CEL has beyond the language: lists, regular expressions, quantities, addresses. */
export function registerLibraries(environment: Environment): Environment {
  lists(environment);
  strings(environment);
  quantities(environment);
  addresses(environment);
  return environment;
}

function order(a: unknown, b: unknown): number {
  if (a instanceof Date && b instanceof Date) return a.getTime() - b.getTime();
  const left = a as string | number | bigint;
  const right = b as string | number | bigint;
  return left < right ? -1 : left > right ? 1 : 0;
}

function same(a: unknown, b: unknown): boolean {
  return typeof a === 'bigint' || typeof b === 'bigint' ? Number(a) === Number(b) : jsonEqual(a, b);
}

function lists(environment: Environment): void {
  environment
    .registerFunction('list.isSorted(): bool', (list: unknown[]) =>
      list.every((item, index) => index === 0 || order(list[index - 1], item) <= 0),
    )
    .registerFunction('list.sum(): dyn', (list: (number | bigint)[]) =>
      list.every((item) => typeof item === 'bigint')
        ? list.reduce((sum, item) => sum + item, 0n)
        : list.reduce<number>((sum, item) => sum + Number(item), 0),
    )
    .registerFunction('list.min(): dyn', (list: unknown[]) => extreme(list, -1))
    .registerFunction('list.max(): dyn', (list: unknown[]) => extreme(list, 1))
    .registerFunction('list.indexOf(dyn): int', (list: unknown[], item: unknown) =>
      BigInt(list.findIndex((other) => same(other, item))),
    )
    .registerFunction('list.lastIndexOf(dyn): int', (list: unknown[], item: unknown) =>
      BigInt(list.findLastIndex((other) => same(other, item))),
    );
}

function extreme(list: unknown[], sign: number): unknown {
  if (list.length === 0) throw new Error(`${sign < 0 ? 'min' : 'max'} called on empty list`);
  return list.reduce((best, item) => (order(item, best) * sign > 0 ? item : best));
}

function strings(environment: Environment): void {
  environment
    .registerFunction(
      'string.find(string): string',
      (text: string, pattern: string) => match(pattern, text) ?? '',
    )
    .registerFunction('string.findAll(string): list<string>', (text: string, pattern: string) =>
      matches(pattern, text),
    )
    .registerFunction('string.charAt(int): string', (text: string, index: bigint) =>
      text.charAt(Number(index)),
    )
    .registerFunction('string.replace(string, string): string', (text: string, from: string, to: string) =>
      text.split(from).join(to),
    )
    .registerFunction('isURL(string): bool', (text: string) => text.startsWith('/') || URL.canParse(text));
}

function expression(pattern: string): RegExp {
  const compiled = compiledPattern(pattern);
  if (compiled === undefined) throw new Error(`illegal regular expression: ${pattern}`);
  return compiled;
}

function match(pattern: string, text: string): string | undefined {
  return expression(pattern).exec(text)?.[0];
}

function matches(pattern: string, text: string): string[] {
  const { source, flags } = expression(pattern);
  return text.match(new RegExp(source, `${flags}g`)) ?? [];
}

function quantityOf(text: string): CelQuantity {
  const known: unknown = text;
  if (!isQuantity(known)) throw new Error(`quantities must match the regular expression: ${text}`);
  return new CelQuantity(nanoUnits(text));
}

function quantities(environment: Environment): void {
  environment
    .registerType('kubernetes.Quantity', CelQuantity)
    .registerFunction('isQuantity(string): bool', (text: string) => isQuantity(text))
    .registerFunction('quantity(string): kubernetes.Quantity', quantityOf)
    .registerFunction(
      'kubernetes.Quantity.isGreaterThan(kubernetes.Quantity): bool',
      (a: CelQuantity, b: CelQuantity) => a.nano > b.nano,
    )
    .registerFunction(
      'kubernetes.Quantity.isLessThan(kubernetes.Quantity): bool',
      (a: CelQuantity, b: CelQuantity) => a.nano < b.nano,
    )
    .registerFunction(
      'kubernetes.Quantity.compareTo(kubernetes.Quantity): int',
      (a: CelQuantity, b: CelQuantity) => BigInt(order(a.nano, b.nano)),
    )
    .registerFunction(
      'kubernetes.Quantity.add(kubernetes.Quantity): kubernetes.Quantity',
      (a: CelQuantity, b: CelQuantity) => new CelQuantity(a.nano + b.nano),
    )
    .registerFunction(
      'kubernetes.Quantity.sub(kubernetes.Quantity): kubernetes.Quantity',
      (a: CelQuantity, b: CelQuantity) => new CelQuantity(a.nano - b.nano),
    )
    .registerFunction('kubernetes.Quantity.sign(): int', (a: CelQuantity) => BigInt(order(a.nano, 0n)))
    .registerFunction('kubernetes.Quantity.isInteger(): bool', (a: CelQuantity) => a.nano % UNIT === 0n)
    .registerFunction('kubernetes.Quantity.asInteger(): int', (a: CelQuantity) => a.nano / UNIT)
    .registerFunction(
      'kubernetes.Quantity.asApproximateFloat(): double',
      (a: CelQuantity) => Number(a.nano) / Number(UNIT),
    );
}

function addresses(environment: Environment): void {
  environment
    .registerFunction('isIP(string): bool', (text: string) => isIP(text) !== 0)
    .registerFunction('isCIDR(string): bool', (text: string) => isCidr(text));
}
