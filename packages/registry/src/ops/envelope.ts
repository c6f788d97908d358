import type { RegistryEvent } from './events.ts';

/** Media type of what endpoints are sent: the notifications of distribution. */
export const EVENTS_TYPE = 'application/vnd.docker.distribution.events.v2+json';

/** Who sends events. */
export interface EventSource {
  /** `host:port` of the registry. */
  readonly addr: string;
  /** Another one after each start. */
  readonly instanceID: string;
}

/** One event as distribution writes it ("Notifications", Events). */
export function notificationOf(event: RegistryEvent, source: EventSource): string {
  const { id, at, action, actor, request } = event;
  return JSON.stringify({
    id,
    timestamp: new Date(at).toISOString(),
    action,
    target: targetOf(event),
    request:
      request === undefined
        ? {}
        : {
            id: request.id,
            addr: request.remote,
            host: request.host,
            method: request.method,
            useragent: request.userAgent,
          },
    actor: actor === undefined ? {} : { name: actor },
    source,
  });
}

/** The body of a request with these events, each of {@link notificationOf}. */
export function envelopeOf(events: readonly string[]): string {
  return `{"events":[${events.join(',')}]}`;
}

function targetOf({ kind, repository, digest, tag, mediaType, size, from, request }: RegistryEvent): object {
  const path = `/v2/${repository}/${kind === 'blob' ? 'blobs' : 'manifests'}/${digest ?? ''}`;
  return {
    ...(kind === 'blob' && mediaType === undefined ? { mediaType: 'application/octet-stream' } : {}),
    ...(mediaType === undefined ? {} : { mediaType }),
    ...(digest === undefined ? {} : { digest }),
    // Both names of the same number are in use.
    ...(size === undefined ? {} : { size, length: size }),
    repository,
    ...(from === undefined ? {} : { fromRepository: from }),
    ...(digest === undefined || request === undefined ? {} : { url: request.base + path }),
    ...(tag === undefined ? {} : { tag }),
  };
}
