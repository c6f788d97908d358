import { errorMessage, isRecord, MuralError } from '@mural/core';
import { Environment } from '@marcbachmann/cel-js';

/** An expression that is no CEL, or gave something other than a boolean, or could not be evaluated. */
export class CelError extends MuralError<'ExpressionInvalid' | 'EvaluationFailed'> {}

const environment = new Environment({
  unlistedVariablesAreDyn: true,
  homogeneousAggregateLiterals: false,
  limits: { maxAstNodes: 2000, maxDepth: 50 },
});
type Parsed = (context: Record<string, unknown>) => unknown;
const MAX_PARSED = 500;
const parsed = new Map<string, Parsed>();

/**
 * Evaluates a CEL expression that must give a boolean.
 *
 * @param variables JSON values by name; whole numbers are CEL ints
 * @throws CelError `ExpressionInvalid` when it cannot be parsed, `EvaluationFailed` when a field it reads
 *   is missing or the result is no boolean
 */
export function evaluateBoolean(expression: string, variables: Readonly<Record<string, unknown>>): boolean {
  const run = parse(expression);
  let result: unknown;
  try {
    result = run(toCel(variables) as Record<string, unknown>);
  } catch (cause) {
    throw new CelError('EvaluationFailed', `cannot evaluate "${expression}": ${errorMessage(cause)}`, {
      cause,
    });
  }
  if (typeof result === 'boolean') return result;
  throw new CelError('EvaluationFailed', `"${expression}" does not give a boolean`);
}

/** Why a text is no CEL expression; `undefined` for one that is. */
export function expressionError(expression: string): string | undefined {
  try {
    parse(expression);
    return undefined;
  } catch (error) {
    return errorMessage(error);
  }
}

function parse(expression: string): Parsed {
  const known = parsed.get(expression);
  if (known !== undefined) return known;
  try {
    const fresh = environment.parse(expression) as Parsed;
    if (parsed.size >= MAX_PARSED) parsed.clear();
    parsed.set(expression, fresh);
    return fresh;
  } catch (cause) {
    throw new CelError(
      'ExpressionInvalid',
      `"${expression}" is not a CEL expression: ${errorMessage(cause)}`,
      {
        cause,
      },
    );
  }
}

/** JSON numbers that are whole are CEL ints, as the Kubernetes API's own are. */
function toCel(value: unknown): unknown {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value;
  if (Array.isArray(value)) return value.map(toCel);
  if (!isRecord(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, toCel(inner)]));
}
