import { createPrivateKey, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { type Clock, writeFileAtomic } from '@mural/core';
import { readIfPresent, writePrivate } from './secrets.ts';

/** Certificate and key in PEM; the certificate may be a chain. */
export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

/** What a home serves with, and what its clients trust. */
export interface Certificates {
  readonly ca: string;
  readonly server: KeyPair;
}

const DAY = 86_400_000;
/** A server certificate with less left than this is replaced. */
const RENEW_DAYS = 130;

/**
 * The CA and the server certificate of a data folder, made when they are missing. The server
 * certificate is replaced well before it expires, or when it does not cover a name; the CA stays.
 *
 * @param names host names and addresses that the server certificate must cover
 */
export async function ensureCertificates(
  folder: string,
  names: readonly string[],
  clock: Clock,
): Promise<Certificates> {
  const ca = (await readPair(folder, 'ca')) ?? (await store(folder, 'ca', await issueCa(clock)));
  const present = await readPair(folder, 'server');
  if (present !== undefined && stillGood(present, ca, names, clock)) {
    return { ca: ca.cert, server: present };
  }
  const server = await issueServer(ca, names, clock);
  return { ca: ca.cert, server: await store(folder, 'server', server) };
}

function stillGood(pair: KeyPair, ca: KeyPair, names: readonly string[], clock: Clock): boolean {
  const stored = new X509Certificate(pair.cert);
  if (stored.validToDate.getTime() - clock.now() < RENEW_DAYS * DAY) return false;
  // A process that was killed while it replaced the pair leaves a new key beside the old certificate.
  if (!stored.checkPrivateKey(createPrivateKey(pair.key))) return false;
  if (!stored.verify(new X509Certificate(ca.cert).publicKey)) return false;
  return names.every((name) => covers(stored, name));
}

function covers(certificate: X509Certificate, name: string): boolean {
  const found = isIP(name) === 0 ? certificate.checkHost(name) : certificate.checkIP(name);
  return found !== undefined;
}

/** What makes certificates is loaded by those alone who need one made. */
async function issueCa(clock: Clock): Promise<KeyPair> {
  const { createCa } = await import('./certificate-issue.ts');
  return createCa(clock);
}

async function issueServer(ca: KeyPair, names: readonly string[], clock: Clock): Promise<KeyPair> {
  const { createServer } = await import('./certificate-issue.ts');
  return createServer(ca, names, clock);
}

async function readPair(folder: string, name: string): Promise<KeyPair | undefined> {
  const cert = await readIfPresent(join(folder, `${name}.crt`));
  const key = await readIfPresent(join(folder, `${name}.key`));
  return cert === undefined || key === undefined ? undefined : { cert, key };
}

/** The certificate comes last: a pair whose certificate is there is whole. */
async function store(folder: string, name: string, pair: KeyPair): Promise<KeyPair> {
  await writePrivate(join(folder, `${name}.key`), pair.key);
  await writeFileAtomic(join(folder, `${name}.crt`), pair.cert);
  return pair;
}
