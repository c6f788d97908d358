import 'reflect-metadata';
import { createPrivateKey, webcrypto, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { type Clock, writeFileAtomic } from '@mural/core';
import * as x509 from '@peculiar/x509';
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

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const DAY = 86_400_000;
const CA_DAYS = 20 * 365;
const SERVER_DAYS = 397;
/** A server certificate with less left than this is replaced. */
const RENEW_DAYS = 130;
/** Clocks of clients may be behind ours. */
const BACKDATE = DAY;

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
  x509.cryptoProvider.set(webcrypto);
  const ca = (await readPair(folder, 'ca')) ?? (await store(folder, 'ca', await createCa(clock)));
  const present = await readPair(folder, 'server');
  if (present !== undefined && stillGood(present, ca, names, clock)) {
    return { ca: ca.cert, server: present };
  }
  const server = await createServer(ca, names, clock);
  return { ca: ca.cert, server: await store(folder, 'server', server) };
}

async function createCa(clock: Clock): Promise<KeyPair> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: 'CN=mural CA',
    ...validity(clock, CA_DAYS),
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { cert: pem(certificate), key: await exportKey(keys.privateKey) };
}

async function createServer(ca: KeyPair, names: readonly string[], clock: Clock): Promise<KeyPair> {
  const issuer = new x509.X509Certificate(ca.cert);
  const signingKey = await importKey(ca.key);
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: 'CN=mural',
    issuer: issuer.subject,
    ...validity(clock, SERVER_DAYS),
    signingKey,
    publicKey: keys.publicKey,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(
        names.map((name) => ({ type: isIP(name) === 0 ? 'dns' : 'ip', value: name })),
      ),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
    ],
  });
  return { cert: pem(certificate), key: await exportKey(keys.privateKey) };
}

function stillGood(pair: KeyPair, ca: KeyPair, names: readonly string[], clock: Clock): boolean {
  const certificate = new x509.X509Certificate(pair.cert);
  if (certificate.notAfter.getTime() - clock.now() < RENEW_DAYS * DAY) return false;
  const stored = new X509Certificate(pair.cert);
  // A process that was killed while it replaced the pair leaves a new key beside the old certificate.
  if (!stored.checkPrivateKey(createPrivateKey(pair.key))) return false;
  if (!stored.verify(new X509Certificate(ca.cert).publicKey)) return false;
  const alternative = certificate.getExtension(x509.SubjectAlternativeNameExtension);
  const covered = new Set(alternative?.names.items.map((name) => name.value));
  return names.every((name) => covered.has(name));
}

function validity(clock: Clock, days: number): { readonly notBefore: Date; readonly notAfter: Date } {
  return {
    notBefore: new Date(clock.now() - BACKDATE),
    notAfter: new Date(clock.now() + days * DAY),
  };
}

/** RFC 5280 §4.1.2.2: positive, at most 20 octets; and unpredictable. */
function serialNumber(): string {
  const bytes = webcrypto.getRandomValues(new Uint8Array(16));
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return Buffer.from(bytes).toString('hex');
}

function pem(certificate: x509.X509Certificate): string {
  return `${certificate.toString('pem')}\n`;
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  return `${x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY')}\n`;
}

async function importKey(text: string): Promise<webcrypto.CryptoKey> {
  const bytes = x509.PemConverter.decodeFirst(text);
  return webcrypto.subtle.importKey('pkcs8', bytes, ALGORITHM, false, ['sign']);
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
