import { randomUUID } from 'node:crypto';
import type { Clock, Logger } from '@mural/core';
import type { CollectionReport } from '../maintenance/findings.ts';
import { baseOf } from '../http/challenge.ts';
import { requestIdOf } from './request-id.ts';
import type { HttpRequest, HttpResponse } from '../wire/message.ts';

/** What can happen to content. `mount` is a blob that a repository gets from another. */
export const EVENT_ACTIONS = ['push', 'delete', 'mount', 'pull'] as const;

/** One of {@link EVENT_ACTIONS}. */
export type EventAction = (typeof EVENT_ACTIONS)[number];

/** What happened to which content. */
export interface Change {
  readonly action: EventAction;
  readonly kind: 'manifest' | 'blob';
  readonly repository: string;
  /** Absent where a tag alone was deleted. */
  readonly digest?: string;
  /** The tag that was pushed, pulled or deleted. */
  readonly tag?: string;
  readonly mediaType?: string;
  /** In bytes. */
  readonly size?: number;
  /** Where a blob was mounted from. */
  readonly from?: string;
}

/** The request behind an event. */
export interface EventRequest {
  /** As in the access log. */
  readonly id: string;
  readonly remote: string;
  readonly host: string;
  readonly method: string;
  readonly userAgent: string;
  /** `https://host`, as the client reached the registry. */
  readonly base: string;
}

/** Something that happened in a registry. */
export interface RegistryEvent extends Change {
  readonly id: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** Who did it; absent for somebody without credentials, and for a collection. */
  readonly actor?: string;
  /** Absent for what a collection removed. */
  readonly request?: EventRequest;
}

/** Takes each event in the turn in which it happened, before its request is answered. */
export type EventListener = (event: RegistryEvent) => void;

/** Somebody who makes a request. */
export interface Cause {
  readonly request: HttpRequest;
  readonly response: HttpResponse;
  readonly caller: { readonly name: string | undefined };
}

interface Subscription {
  readonly actions: ReadonlySet<EventAction>;
  readonly listener: EventListener;
}

const MAX_TEXT = 512;

/** Tells those who want to know what happens. Costs nothing while nobody does. */
export class Events {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #subscriptions = new Set<Subscription>();

  constructor({ clock, log }: { readonly clock: Clock; readonly log: Logger }) {
    this.#clock = clock;
    this.#log = log;
  }

  /** @returns what ends it */
  subscribe(actions: readonly EventAction[], listener: EventListener): () => void {
    const subscription = { actions: new Set(actions), listener };
    this.#subscriptions.add(subscription);
    return () => this.#subscriptions.delete(subscription);
  }

  /** Tells of what a collection removed. */
  collected({ findings }: CollectionReport): void {
    for (const { kind, repository, tag, digest } of findings) {
      if (repository === undefined || kind === 'file' || kind === 'upload') continue;
      const what = kind === 'tag' ? { tag: tag ?? '' } : { digest: digest ?? '' };
      this.publish({
        action: 'delete',
        kind: kind === 'blob' ? 'blob' : 'manifest',
        repository,
        ...what,
      });
    }
  }

  /** Tells of a change; never throws. */
  publish(change: Change, cause?: Cause): void {
    if (this.#subscriptions.size === 0) return;
    let event: RegistryEvent | undefined;
    for (const { actions, listener } of this.#subscriptions) {
      if (!actions.has(change.action)) continue;
      try {
        event ??= this.#eventOf(change, cause);
        listener(event);
      } catch (error) {
        this.#log.error({ err: error, action: change.action }, 'an event was not taken');
      }
    }
  }

  #eventOf(change: Change, cause: Cause | undefined): RegistryEvent {
    const actor = cause?.caller.name;
    return {
      ...change,
      id: randomUUID(),
      at: this.#clock.now(),
      ...(actor === undefined ? {} : { actor }),
      ...(cause === undefined ? {} : { request: requestOf(cause) }),
    };
  }
}

function requestOf({ request, response }: Cause): EventRequest {
  const base = baseOf(request);
  return {
    id: requestIdOf(response),
    remote: `${request.socket.remoteAddress ?? ''}:${request.socket.remotePort ?? 0}`,
    host: base.replace(/^https?:\/\//, ''),
    method: request.method,
    userAgent: (request.headers['user-agent'] ?? '').slice(0, MAX_TEXT),
    base,
  };
}
