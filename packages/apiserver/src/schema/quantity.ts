/**
 * The canonical form of a `resource.Quantity` as the API stores it: `0.5` is `500m`, `1.5Gi` is
 * `1536Mi`, `1000m` is `1`; what is canonical already stays. What is no quantity is returned as it is.
 */
export function canonicalQuantity(quantity: string | number): string {
  const text = String(quantity);
  const match = /^([+-]?)(\d*)(?:\.(\d*))?(m|u|n|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei|[eE][+-]?\d{1,2})?$/.exec(
    text,
  );
  if (match === null || text.length > 64) return text;
  const [, sign = '', whole = '', fraction = '', suffix = ''] = match;
  if (whole === '' && fraction === '') return text;
  const digits = BigInt(whole + fraction);
  if (digits === 0n) return '0';
  const minus = sign === '-' ? '-' : '';
  return (
    minus +
    (suffix.endsWith('i')
      ? binary(digits, fraction.length, suffix)
      : decimal(digits, fraction.length, suffix))
  );
}

/** Whether a value is a quantity at all. */
export function isQuantity(value: unknown): value is string | number {
  if (typeof value === 'number') return Number.isFinite(value);
  return (
    typeof value === 'string' &&
    /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[numkMGTPE]|[KMGTPE]i|[eE][+-]?\d{1,3})?$/.test(value)
  );
}

/** A quantity in billionths, rounded up. The text must be one; see {@link isQuantity}. */
export function nanoUnits(quantity: string | number): bigint {
  const text = canonicalQuantity(quantity);
  const match = /^(-?)(\d+)(m|u|n|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei|e-?\d{1,2})?$/.exec(text);
  const [, sign = '', digits = '0', suffix = ''] = match ?? [];
  const value = BigInt(digits);
  const nano = suffix.endsWith('i')
    ? value * 1024n ** BigInt(BINARY.indexOf(suffix)) * 10n ** 9n
    : scaled(value, suffix);
  return sign === '-' ? -nano : nano;
}

function scaled(value: bigint, suffix: string): bigint {
  const exponent = suffix.startsWith('e') ? Number(suffix.slice(1)) : (DECIMAL.indexOf(suffix) - 3) * 3;
  return value * 10n ** BigInt(exponent + 9);
}

const BINARY = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];
const DECIMAL = ['n', 'u', 'm', '', 'k', 'M', 'G', 'T', 'P', 'E'];

function binary(digits: bigint, decimals: number, suffix: string): string {
  const scaled = digits * 1024n ** BigInt(BINARY.indexOf(suffix));
  const unit = 10n ** BigInt(decimals);
  if (scaled % unit !== 0n) {
    // A fraction of a byte: the API counts on in decimal units, rounded up to nano.
    return decimal(scaled, decimals, '');
  }
  let value = scaled / unit;
  let power = 0;
  while (value % 1024n === 0n && power < BINARY.length - 1) {
    value /= 1024n;
    power++;
  }
  return `${value}${BINARY[power] ?? ''}`;
}

function decimal(digits: bigint, decimals: number, suffix: string): string {
  const exponent = /^[eE]/.test(suffix) ? Number(suffix.slice(1)) : (DECIMAL.indexOf(suffix) - 3) * 3;
  // In nano units, rounded up, as the API keeps nothing smaller.
  const power = exponent - decimals + 9;
  const nano = power >= 0 ? digits * 10n ** BigInt(power) : ceilDivide(digits, 10n ** BigInt(-power));
  let value = nano;
  let unit = 0;
  while (value % 1000n === 0n && unit < DECIMAL.length - 1) {
    value /= 1000n;
    unit++;
  }
  if (/^[eE]/.test(suffix)) return exponentForm(value, (unit - 3) * 3);
  return `${value}${DECIMAL[unit] ?? ''}`;
}

function exponentForm(value: bigint, exponent: number): string {
  return exponent === 0 ? String(value) : `${value}e${exponent}`;
}

function ceilDivide(a: bigint, b: bigint): bigint {
  return (a + b - 1n) / b;
}
