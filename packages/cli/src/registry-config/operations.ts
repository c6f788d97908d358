import { parseDuration } from '@mural/core';
import {
  checkEvents,
  EVENT_ACTIONS,
  type EventEndpoint,
  type EventOptions,
  type MetricsOptions,
} from '@mural/registry';
import { z } from 'zod';
import { checked, type Report } from './checked.ts';
import { Duration, Text } from './fields.ts';

/** Where metrics are served. */
export const MetricsSection = z.strictObject({
  /** Of a listener of its own; none unless given. */
  port: z.int().min(0).max(65_535).optional(),
  listen: z
    .union([z.ipv4(), z.ipv6(), z.literal('localhost')], { error: 'must be an IP address' })
    .optional(),
  /** Who may read them from the registry's own address. */
  users: z.array(Text).optional(),
});

/** The section as it stands in a configuration. */
export type MetricsSection = z.infer<typeof MetricsSection>;

const Header = z.strictObject({
  name: Text,
  value: z.string().optional(),
  /** A file whose one line is the value. */
  valueFile: Text.optional(),
});

const Endpoint = z.strictObject({
  name: Text,
  url: Text,
  headers: z.array(Header).optional(),
  caFile: Text.optional(),
  timeout: Duration.optional(),
  actions: z.array(z.enum(EVENT_ACTIONS)).optional(),
  repositories: z.array(Text).optional(),
  blobs: z.boolean().optional(),
  queue: z.int().optional(),
});

/** Who is told what happens. The rest of an endpoint is the registry's to check. */
export const EventsSection = z.strictObject({ endpoints: z.array(Endpoint) });

/**
 * What a section of metrics comes to.
 *
 * @param report takes what is wrong, and where it stands
 */
export function metricsOf(section: MetricsSection | undefined, report: Report): MetricsOptions {
  const { port, listen, users } = section ?? {};
  if (listen !== undefined && port === undefined) {
    report(['metrics', 'listen'], 'needs a port: the address is that of a listener of its own');
  }
  return {
    ...(port === undefined ? {} : { port }),
    ...(listen === undefined ? {} : { listen }),
    ...(users === undefined ? {} : { users }),
  };
}

/** An endpoint with what its files hold. */
export function endpointOf(
  given: z.infer<typeof Endpoint>,
  read: { readonly headers: Readonly<Record<string, string>>; readonly ca: string | undefined },
): EventEndpoint {
  const { name, url, timeout, actions, repositories, blobs, queue } = given;
  return {
    ...{ name, url },
    ...(given.headers === undefined ? {} : { headers: read.headers }),
    ...(read.ca === undefined ? {} : { ca: read.ca }),
    ...(timeout === undefined ? {} : { timeoutMs: parseDuration(timeout) }),
    ...(actions === undefined ? {} : { actions }),
    ...(repositories === undefined ? {} : { repositories }),
    ...(blobs === undefined ? {} : { blobs }),
    ...(queue === undefined ? {} : { queue }),
  };
}

/**
 * Has the registry check endpoints.
 *
 * @param report takes what is wrong with one, and where it stands
 */
export function eventsOf(endpoints: readonly EventEndpoint[], report: Report): EventOptions {
  if (endpoints.length === 0) return {};
  checked(['events'], report, () => checkEvents({ endpoints }));
  return { endpoints };
}
