import { type Clock, Deadline, type Logger, type Random } from '@mural/core';
import { type CredentialProvider, OciError, RegistryClient, staticCredentials } from '@mural/oci';
import { RegistryError } from '../errors.ts';
import { isMissing, UpstreamError, upstreamError } from './errors.ts';
import { Gate } from './gate.ts';
import type { CompiledMirror } from './options.ts';
import { MirrorTallies } from './tallies.ts';

/** Requests for manifests and lists that are under way at a time. */
const CALLS = 8;
const MAX_WAITING = 512;
const QUIET_BASE_MS = 1000;
const QUIET_CAP_MS = 30_000;
const MAX_QUIET_MS = 600_000;

/** The registry behind a mirror: how it is asked, how much at once, and whether it can be asked now. */
export class Upstream {
  readonly mirror: CompiledMirror;
  readonly client: RegistryClient;
  readonly host: string;
  /** Scheme, host and port. */
  readonly origin: string;
  /** Blobs that are fetched at a time. */
  readonly transfers: Gate;
  readonly tallies = new MirrorTallies();
  readonly #calls = new Gate(CALLS, MAX_WAITING);
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Logger;
  readonly #stop: AbortSignal;
  #failures = 0;
  #quietUntil = 0;
  #lastFailure: UpstreamError | undefined;

  constructor(
    mirror: CompiledMirror,
    parts: { clock: Clock; random: Random; log: Logger; stop: AbortSignal },
  ) {
    this.mirror = mirror;
    this.#clock = parts.clock;
    this.#random = parts.random;
    this.#log = parts.log;
    this.#stop = parts.stop;
    this.host = mirror.origin.host;
    this.origin = mirror.origin.origin;
    this.transfers = new Gate(mirror.concurrency, MAX_WAITING);
    this.client = new RegistryClient({
      registry: this.host,
      insecure: mirror.origin.protocol === 'http:',
      credentials: this.#guarded(),
      ca: mirror.ca,
      timeoutMs: mirror.timeoutMs,
      clock: parts.clock,
      random: parts.random,
      log: parts.log,
      userAgent: 'mural-registry-mirror',
    });
  }

  /**
   * Asks the upstream for something small.
   *
   * @param ms how long it may take, where that is less than the upstream may be silent
   * @returns undefined when it has no such thing
   * @throws UpstreamError, at once while the upstream is left alone; RegistryError `TooManyRequests`
   */
  async ask<T>(
    what: string,
    work: (signal: AbortSignal) => Promise<T>,
    ms = this.mirror.timeoutMs,
  ): Promise<T | undefined> {
    this.requireAwake();
    const deadline = this.deadline(what, Math.min(ms, this.mirror.timeoutMs));
    try {
      const answer = await this.#calls.run(deadline.signal, () => work(deadline.signal));
      this.answered();
      return answer;
    } catch (error) {
      if (isMissing(error)) {
        this.answered();
        return undefined;
      }
      throw this.failed(error);
    } finally {
      deadline.end();
    }
  }

  /** A deadline for one call with everything that belongs to it; ends with the registry too. */
  deadline(what: string, ms = this.mirror.timeoutMs): Deadline {
    const expired = (): OciError => new OciError('TimedOut', `${what} took longer than ${ms} ms`);
    return new Deadline({ clock: this.#clock, ms, signal: this.#stop, expired });
  }

  /** False while the upstream is left alone after a failure. */
  get awake(): boolean {
    return this.#lastFailure === undefined || this.#clock.now() >= this.#quietUntil;
  }

  /** @throws UpstreamError while the upstream is left alone after a failure */
  requireAwake(): void {
    if (this.#lastFailure === undefined || this.awake) return;
    throw new UpstreamError(this.#lastFailure.code, this.#lastFailure.message, {
      host: this.host,
      away: true,
      retryAfterMs: this.#quietUntil - this.#clock.now(),
    });
  }

  /** Notes that the upstream works. */
  answered(): void {
    this.#failures = 0;
    this.#quietUntil = 0;
    this.#lastFailure = undefined;
  }

  /** What a failure means; an upstream that cannot be used is left alone for a while, longer each time. */
  failed(cause: unknown): Error {
    if (cause instanceof RegistryError && !(cause instanceof UpstreamError)) return cause;
    const error = this.broken(cause);
    if (!error.away) {
      this.#log.warn(
        { upstream: this.host, err: cause },
        'the upstream of a mirror did not give what was asked for',
      );
      return error;
    }
    const backoff = Math.min(QUIET_CAP_MS, QUIET_BASE_MS * 2 ** this.#failures) * (0.5 + this.#random() / 2);
    this.#failures = Math.min(this.#failures + 1, 16);
    const quietMs = Math.min(MAX_QUIET_MS, error.retryAfterMs ?? backoff);
    this.#quietUntil = Math.max(this.#quietUntil, this.#clock.now() + quietMs);
    this.#lastFailure = error;
    this.#log.warn(
      { upstream: this.host, quietMs: Math.round(quietMs), err: cause },
      'the upstream of a mirror is left alone',
    );
    return error;
  }

  /** What it means that something did not come as it should, which says nothing of the next request. */
  broken(cause?: unknown): UpstreamError {
    const error = upstreamError(cause, this.host);
    this.tallies.failed(error);
    return error;
  }

  /** Ends the connections. */
  async close(): Promise<void> {
    await this.client.close();
  }

  /** The credentials go to the upstream and to the token servers that were named, whatever a challenge says. */
  #guarded(): CredentialProvider | undefined {
    const { credentials, tokenServers } = this.mirror;
    if (credentials === undefined) return undefined;
    const provider = typeof credentials === 'function' ? credentials : staticCredentials(credentials);
    return onlyFor([this.host, ...tokenServers], provider, (tokenServer) => {
      this.#log.warn(
        { upstream: this.host, tokenServer },
        'the upstream of a mirror names a token server that is not among its tokenServers: no credentials were sent',
      );
    });
  }
}

/**
 * A provider that gives its credential to these hosts alone.
 *
 * @param refused told of a host that got none
 */
export function onlyFor(
  hosts: readonly string[],
  provider: CredentialProvider,
  refused: (host: string | undefined) => void,
): CredentialProvider {
  const allowed = new Set(hosts.map((host) => host.toLowerCase()));
  return async (request = {}) => {
    if (request.to !== undefined && allowed.has(request.to.toLowerCase())) return await provider(request);
    refused(request.to?.slice(0, 200));
    return undefined;
  };
}
