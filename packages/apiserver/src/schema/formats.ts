import { isIP, isIPv4, isIPv6 } from 'node:net';

const INT32 = 2 ** 31;
const DURATION =
  /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)\s*(?:ns|us|µs|μs|ms|s|m|h|d|w)?(?:\s*(?:\d+(?:\.\d*)?|\.\d+)\s*(?:ns|us|µs|μs|ms|s|m|h|d|w))*$/;

const CHECKS: Readonly<Record<string, (text: string) => boolean>> = {
  'date-time': isDateTime,
  date: (text) => /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(Date.parse(text)),
  duration: (text) => text === '0' || (DURATION.test(text) && /[a-zµμ]$/.test(text)),
  byte: isBase64,
  uuid: (text) => /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i.test(text),
  ipv4: isIPv4,
  ipv6: isIPv6,
  ip: (text) => isIP(text) !== 0,
  cidr: isCidr,
  mac: (text) => /^(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}$/i.test(text),
  email: (text) => /^[^\s@<>()[\]\\,;:]+@[^\s@<>()[\]\\,;:]+$/.test(text),
  hostname: isHostname,
  uri: (text) => (/^[a-z][a-z\d+.-]*:/i.test(text) ? URL.canParse(text) : text.startsWith('/')),
  hexcolor: (text) => /^#?(?:[0-9a-f]{3}|[0-9a-f]{6})$/i.test(text),
  isbn10: (text) => /^[\d-]{9,12}[\dXx]$/.test(text),
  isbn13: (text) => /^[\d-]{13,17}$/.test(text),
};

/** Whether a string has a format; formats that the API does not know accept all. */
export function hasFormat(text: string, format: string): boolean {
  const check = Object.hasOwn(CHECKS, format) ? CHECKS[format] : undefined;
  return check === undefined || check(text);
}

/** Whether an integer fits `int32` or `int64`. */
export function fitsInteger(value: number, format: string | undefined): boolean {
  return format !== 'int32' || (value >= -INT32 && value < INT32);
}

/** RFC 3339 with seconds and a zone. */
export function isDateTime(text: string): boolean {
  return (
    /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)$/.test(text) &&
    !Number.isNaN(Date.parse(text))
  );
}

/** Standard base64 with padding. */
export function isBase64(text: string): boolean {
  return text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);
}

/** An address with a prefix length. */
export function isCidr(text: string): boolean {
  const slash = text.lastIndexOf('/');
  const version = isIP(text.slice(0, Math.max(slash, 0)));
  const bits = text.slice(slash + 1);
  return version !== 0 && /^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128);
}

function isHostname(text: string): boolean {
  return (
    text.length <= 253 &&
    /^(?:[a-z\d](?:[a-z\d-]{0,61}[a-z\d])?\.)*[a-z\d](?:[a-z\d-]{0,61}[a-z\d])?\.?$/i.test(text)
  );
}
