import { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { type Clock, errorMessage } from '@mural/core';
import { RegistrySetupError } from '../errors.ts';
import { type Caller, callerWith, UnauthorizedError } from './caller.ts';
import { subjectPattern } from './oidc.ts';
import { checkPolicies, type RegistryPolicy } from './policy.ts';

/** What those get whose certificate fits. Every condition that is given must hold. */
export interface CertificateRule {
  /** Pattern for the common name of the subject: `*` stops at a colon or slash, `**` at nothing. */
  readonly commonName?: string;
  /** Pattern for a URI among the subject's alternative names, such as `spiffe://example.org/ns/team/**`. */
  readonly uri?: string;
  /** Acts as the user of this name, while there is one. */
  readonly user?: string;
  readonly policies?: readonly RegistryPolicy[];
}

/** Who may sign in with a certificate. */
export interface ClientCertificates {
  /** PEM of the authorities whose certificates are taken. */
  readonly ca: string;
  /** Refuse connections without a certificate; they may sign in otherwise unless told. */
  readonly required?: boolean;
  /** The first that fits is applied. */
  readonly rules: readonly CertificateRule[];
}

/** What was found out about the certificate of a connection. */
interface Verified {
  readonly caller: Caller | undefined;
  /** Name of the user that the caller acts as. */
  readonly user: string | undefined;
  readonly notBefore: number;
  readonly notAfter: number;
  /** Of the authorities that it was verified with. */
  readonly generation: number;
}

interface CompiledRule {
  readonly commonName: RegExp | undefined;
  readonly uri: RegExp | undefined;
  readonly user: string | undefined;
  readonly policies: readonly RegistryPolicy[];
}

const MAX_NAME = 512;

/** Says who a connection belongs to by the certificate that it was opened with. */
export class CertificateCallers {
  readonly #rules: readonly CompiledRule[];
  readonly #clock: Clock;
  readonly #anonymous: readonly RegistryPolicy[];
  readonly #seen = new WeakMap<Socket, Verified>();
  #generation = 0;

  /** @throws RegistrySetupError `ClientCertificatesInvalid`, `PolicyInvalid` */
  constructor(options: ClientCertificates | undefined, clock: Clock, anonymous: readonly RegistryPolicy[]) {
    if (options !== undefined) checkClientCertificates(options);
    this.#clock = clock;
    this.#anonymous = anonymous;
    this.#rules = (options?.rules ?? []).map(({ commonName, uri, user, policies = [] }) => ({
      commonName: commonName === undefined ? undefined : subjectPattern(commonName),
      uri: uri === undefined ? undefined : subjectPattern(uri),
      user,
      policies,
    }));
  }

  /**
   * Remembers who a new connection belongs to. To be called when its handshake is over; a connection
   * that this was not called for has no certificate.
   */
  opened(socket: TLSSocket): void {
    if (this.#rules.length === 0 || !socket.authorized) return;
    const certificate = socket.getPeerX509Certificate();
    if (certificate !== undefined) this.#seen.set(socket, this.#read(certificate));
  }

  /** Connections whose certificates were verified until now have none from now on: others are trusted now. */
  forgetAll(): void {
    this.#generation += 1;
  }

  /**
   * Who a connection belongs to; undefined without a certificate that fits a rule. An expired one no
   * longer counts, however long its connection stays open.
   *
   * @param callerOfUser the caller that a user is, if there is such a user
   */
  callerOf(socket: Socket, callerOfUser: (name: string) => Caller | undefined): Caller | undefined {
    const verified = this.#seen.get(socket);
    if (verified === undefined || verified.generation !== this.#generation) return undefined;
    const now = this.#clock.now();
    if (now > verified.notAfter || now < verified.notBefore) throw new UnauthorizedError();
    return verified.user === undefined ? verified.caller : callerOfUser(verified.user);
  }

  #read(certificate: X509Certificate): Verified {
    const notAfter = Date.parse(certificate.validTo);
    const { commonName, uris } = namesOf(certificate);
    const rule = this.#rules.find((one) => fits(one, commonName, uris));
    const name = commonName ?? uris[0];
    const caller =
      rule === undefined || name === undefined
        ? undefined
        : callerWith(`certificate:${name}`, rule.policies, { anonymous: this.#anonymous, expires: notAfter });
    return {
      caller,
      user: rule?.user,
      notBefore: Date.parse(certificate.validFrom),
      notAfter,
      generation: this.#generation,
    };
  }
}

function fits({ commonName, uri }: CompiledRule, name: string | undefined, uris: readonly string[]): boolean {
  if (commonName !== undefined && (name === undefined || !commonName.test(name))) return false;
  return uri === undefined || uris.some((one) => uri.test(one));
}

/**
 * The names of a certificate that rules look at. One with two common names, or with a name that Node
 * had to quote because it holds a separator, has none: nobody may pass for somebody by punctuation.
 */
export function namesOf(certificate: X509Certificate): {
  readonly commonName: string | undefined;
  readonly uris: readonly string[];
} {
  const subject = certificate.toLegacyObject().subject as unknown as Record<string, unknown> | undefined;
  const given = subject?.['CN'];
  const commonName = typeof given === 'string' && isPlain(given) ? given : undefined;
  const alternatives = certificate.subjectAltName ?? '';
  const uris = alternatives.includes('"')
    ? []
    : alternatives
        .split(', ')
        .filter((one) => one.startsWith('URI:'))
        .map((one) => one.slice('URI:'.length))
        .filter(isPlain);
  return { commonName, uris };
}

function isPlain(name: string): boolean {
  return name !== '' && name.length <= MAX_NAME && !/[\p{Cc}"\\]/u.test(name);
}

/** @throws RegistrySetupError `ClientCertificatesInvalid`, `PolicyInvalid` */
export function checkClientCertificates({ ca, rules }: ClientCertificates): void {
  const fail = (why: string): never => {
    throw new RegistrySetupError(
      'ClientCertificatesInvalid',
      `Client certificates cannot be checked: ${why}.`,
    );
  };
  const blocks = ca.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) fail('the CA has no certificate in PEM');
  for (const block of blocks) {
    try {
      if (new X509Certificate(block).ca) continue;
    } catch (error) {
      fail(`a certificate of the CA cannot be read (${errorMessage(error)})`);
    }
    fail('a certificate of the CA is not that of an authority');
  }
  if (rules.length === 0) fail('there are no rules, so that nobody could sign in with one');
  for (const { commonName, uri, user, policies } of rules) {
    if (commonName === undefined && uri === undefined) fail('a rule needs a commonName or a uri');
    if ((user === undefined) === (policies === undefined)) fail('a rule needs either a user or policies');
    checkPolicies(policies ?? [], 'a rule for certificates');
  }
}
