import { type Clock, type Logger } from '@mural/core';
import type { JSONWebKeySet, JWTPayload } from 'jose';
import { RegistrySetupError } from '../errors.ts';
import { globPattern } from '../glob.ts';
import { type Caller, callerWith, UnauthorizedError } from './caller.ts';
import { isSafeUrl, IssuerKeys, type IssuerKeysOptions, type KeySet, readKeys } from './issuer-keys.ts';
import type { UnverifiedToken } from './jwt.ts';
import { checkPolicies, type RegistryPolicy } from './policy.ts';

/** What those get whose token fits. Every condition that is given must hold. */
export interface OidcRule {
  /**
   * Pattern for the subject, such as `system:serviceaccount:team:*`: `*` stands for any characters but
   * a colon or slash, `**` for any at all.
   */
  readonly subject?: string;
  /** Patterns for groups, one of which the caller must be in. */
  readonly groups?: readonly string[];
  readonly policies: readonly RegistryPolicy[];
}

/** An OpenID Connect issuer whose tokens are taken; Kubernetes clusters are such. */
export interface OidcIssuer extends IssuerKeysOptions {
  /** How its callers are told apart from those of others: they are named `<name>:<subject>`. */
  readonly name: string;
  /** What a token must be for: one of these must be in its `aud`. */
  readonly audiences: readonly string[];
  /** The claim that names the caller, `sub` unless told. */
  readonly subjectClaim?: string;
  /** The claim with the groups, `groups` unless told. */
  readonly groupsClaim?: string;
  /** The keys themselves, where nothing is to be fetched. */
  readonly jwks?: JSONWebKeySet;
  readonly rules: readonly OidcRule[];
}

/** Signatures that only the issuer can make: nothing with a shared secret, and not `none`. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];
const CLOCK_TOLERANCE_S = 30;
const MAX_SUBJECT = 512;

interface CompiledRule {
  readonly subject: RegExp | undefined;
  readonly groups: readonly RegExp[] | undefined;
  readonly policies: readonly RegistryPolicy[];
}

interface Issuer {
  readonly options: OidcIssuer;
  readonly rules: readonly CompiledRule[];
  keysFor(kid: string): Promise<KeySet | undefined>;
}

/** Takes tokens of OpenID Connect issuers and says who they stand for. */
export class OidcIssuers {
  readonly #issuers = new Map<string, Issuer>();
  readonly #clock: Clock;
  readonly #anonymous: readonly RegistryPolicy[];

  /** @throws RegistrySetupError `OidcInvalid`, `PolicyInvalid` */
  constructor(
    issuers: readonly OidcIssuer[],
    options: { readonly clock: Clock; readonly log: Logger; readonly anonymous: readonly RegistryPolicy[] },
  ) {
    this.#clock = options.clock;
    this.#anonymous = options.anonymous;
    for (const issuer of issuers) {
      checkIssuer(issuer);
      const taken = [...this.#issuers.values()].some((other) => other.options.name === issuer.name);
      if (this.#issuers.has(issuer.issuer) || taken) throw invalid(issuer, 'it is there twice');
      this.#issuers.set(issuer.issuer, compileIssuer(issuer, options.clock, options.log));
    }
  }

  /** Whether there are any. */
  get enabled(): boolean {
    return this.#issuers.size > 0;
  }

  /** Whether tokens of this issuer are taken. */
  has(issuer: string | undefined): boolean {
    return issuer !== undefined && this.#issuers.has(issuer);
  }

  /**
   * Who a token stands for.
   *
   * @throws UnauthorizedError for a token that is not good, or fits no rule
   * @throws RegistryError `IssuerUnavailable`
   */
  async verify(token: string, unverified: UnverifiedToken): Promise<Caller> {
    const issuer = this.#issuers.get(unverified.issuer ?? '');
    if (issuer === undefined || unverified.kid === undefined || !ALGORITHMS.includes(unverified.alg)) {
      throw new UnauthorizedError('invalid_token');
    }
    const keys = await issuer.keysFor(unverified.kid);
    if (keys === undefined) throw new UnauthorizedError('invalid_token');
    let payload: JWTPayload;
    const { jwtVerify } = await import('jose');
    try {
      ({ payload } = await jwtVerify(token, keys, {
        algorithms: ALGORITHMS,
        issuer: issuer.options.issuer,
        audience: [...issuer.options.audiences],
        requiredClaims: ['exp', 'aud', 'iss'],
        clockTolerance: CLOCK_TOLERANCE_S,
        currentDate: new Date(this.#clock.now()),
      }));
    } catch {
      throw new UnauthorizedError('invalid_token');
    }
    return this.#callerOf(issuer, payload);
  }

  #callerOf({ options, rules }: Issuer, payload: JWTPayload): Caller {
    const subject = payload[options.subjectClaim ?? 'sub'];
    if (typeof subject !== 'string' || subject === '' || subject.length > MAX_SUBJECT) {
      throw new UnauthorizedError('invalid_token');
    }
    const claim = payload[options.groupsClaim ?? 'groups'];
    const groups = (Array.isArray(claim) ? claim : [claim]).filter((one) => typeof one === 'string');
    const fitting = rules.filter((rule) => fits(rule, subject, groups));
    if (fitting.length === 0) throw new UnauthorizedError('invalid_token');
    const policies = fitting.flatMap((rule) => rule.policies);
    return callerWith(`${options.name}:${subject}`, policies, {
      anonymous: this.#anonymous,
      expires: (payload.exp ?? 0) * 1000,
    });
  }
}

function fits({ subject, groups }: CompiledRule, name: string, member: readonly string[]): boolean {
  if (subject !== undefined && !subject.test(name)) return false;
  return groups === undefined || member.some((group) => groups.some((pattern) => pattern.test(group)));
}

function compileIssuer(options: OidcIssuer, clock: Clock, log: Logger): Issuer {
  const rules = options.rules.map(({ subject, groups, policies }) => ({
    subject: subject === undefined ? undefined : subjectPattern(subject),
    groups: groups?.map(subjectPattern),
    policies,
  }));
  if (options.jwks === undefined) {
    const keys = new IssuerKeys(options, clock, log);
    return { options, rules, keysFor: (kid) => keys.keysFor(kid) };
  }
  const { keys, kids } = readKeys(options.jwks);
  return { options, rules, keysFor: async (kid) => (kids.has(kid) ? keys : undefined) };
}

/** A pattern for the names of callers: `*` stops at a colon or slash, `**` at nothing; the whole must fit. */
export function subjectPattern(glob: string): RegExp {
  return globPattern(glob, ':/');
}

/** @throws RegistrySetupError `OidcInvalid`, `PolicyInvalid` */
export function checkIssuer(issuer: OidcIssuer): void {
  const { name, audiences, jwks, jwksUri, discoveryUrl, rules } = issuer;
  if (!/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(name)) {
    throw invalid(issuer, 'its name must be lower case letters, digits and hyphens');
  }
  if (audiences.length === 0 || audiences.includes('')) {
    throw invalid(issuer, 'it needs an audience, or a token for anything else would do');
  }
  if (jwks === undefined) {
    for (const url of [jwksUri ?? discoveryUrl ?? issuer.issuer]) {
      if (!isSafeUrl(url)) throw invalid(issuer, 'its keys must come from an https URL without a password');
    }
  } else {
    try {
      readKeys(jwks);
    } catch (error) {
      throw invalid(issuer, `its keys cannot be used: ${error instanceof Error ? error.message : ''}`);
    }
  }
  if (rules.length === 0) throw invalid(issuer, 'it has no rules, so that nobody could sign in');
  for (const rule of rules) checkPolicies(rule.policies, `the issuer "${name}"`);
}

function invalid(issuer: OidcIssuer, why: string): RegistrySetupError {
  return new RegistrySetupError('OidcInvalid', `The issuer "${issuer.name}" cannot be used: ${why}.`, {
    facts: { name: issuer.name },
  });
}
