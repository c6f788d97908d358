import { X509Certificate } from 'node:crypto';
import type { Found, ValuesDocument } from '../document.ts';
import { filled, formatPath, registriesOf } from './rule.ts';

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;
const RULE = 'ca';

/** `ca` of a spoke's registry: certificates (PEM), where something is verified with them. */
export function* checkAuthorities(document: ValuesDocument): Iterable<Found> {
  for (const { path, value, spoke } of registriesOf(document)) {
    const pem = filled(value.ca);
    if (spoke === undefined || pem === undefined) continue;
    const at = [...path, 'ca'];
    const problem = problemOfCa(pem);
    if (problem !== undefined) {
      yield document.finding(
        at,
        { level: 'error', message: `${formatPath(at)} ${problem}`, rule: RULE },
        'key',
      );
      continue;
    }
    const unused = reasonUnused(value);
    if (unused === undefined) continue;
    const message = `${formatPath(at)} is not used: ${unused}`;
    yield document.finding(at, { level: 'warning', message, rule: RULE }, 'key');
  }
}

/**
 * What is wrong with the CA (PEM) of a registry, if anything is. What stands there is not repeated: it may
 * be the key.
 */
export function problemOfCa(pem: string): string | undefined {
  if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem))
    return 'holds a private key: only certificates belong here, and this key is not a secret any more';
  const blocks = pem.match(CERTIFICATE) ?? [];
  if (blocks.length === 0)
    return 'holds no certificate: it must be the text of the CA (PEM), with its BEGIN and END lines';
  const bad = blocks.findIndex((block) => !isCertificate(block));
  return bad < 0 ? undefined : `holds a certificate that cannot be read (number ${bad + 1})`;
}

function isCertificate(pem: string): boolean {
  try {
    new X509Certificate(pem);
    return true;
  } catch {
    return false;
  }
}

function reasonUnused({ insecure, provider }: Readonly<Record<string, unknown>>): string | undefined {
  if (insecure === true) return 'with insecure: true there is no TLS';
  if (typeof provider === 'string' && ['aws', 'azure', 'gcp'].includes(provider))
    return `with provider ${provider} the certificates of the system are`;
  return undefined;
}
