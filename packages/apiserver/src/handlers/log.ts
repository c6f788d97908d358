import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Api } from '../api.ts';
import type { StreamAnswer } from '../http/answer.ts';
import type { ResourceRequest } from '../http/request.ts';
import { flag } from '../http/request.ts';
import type { LogOptions } from '../logs.ts';
import { digList, digString } from '../objects.ts';
import { badRequest, notFound } from '../status.ts';

/** GET of `pods/NAME/log`. */
export function readPodLog(api: Api, request: ResourceRequest): StreamAnswer {
  const { info, resource, query } = request;
  const pod = api.store.get('pods', info.namespace, info.name);
  if (pod === undefined) throw notFound(resource, info.name);
  const names = digList(pod, 'spec', 'containers').map((container) => digString(container, 'name'));
  const container = query.get('container') ?? '';
  if (container === '' && names.length > 1) {
    throw badRequest(
      `a container name must be specified for pod ${info.name}, choose one of: [${names.join(' ')}]`,
    );
  }
  if (container !== '' && !names.includes(container)) {
    throw badRequest(`container ${container} is not valid for pod ${info.name}`);
  }
  const chosen = container === '' ? names[0] : container;
  const target = {
    namespace: info.namespace,
    name: info.name,
    ...(chosen === undefined ? {} : { container: chosen }),
  };
  const ended = new AbortController();
  const log = api.readLog?.(target, optionsOf(query), AbortSignal.any([request.signal, ended.signal]));
  if (log === undefined) {
    const phase = digString(pod, 'status', 'phase') || 'Pending';
    throw badRequest(
      `container "${chosen ?? ''}" in pod "${info.name}" is waiting to start: nothing here runs it (phase ${phase})`,
    );
  }
  return {
    type: 'stream',
    run: async (response) => {
      try {
        await send(response, log, request.signal);
      } finally {
        ended.abort();
      }
    },
  };
}

async function send(
  response: ServerResponse,
  log: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  response.writeHead(200, { 'Content-Type': 'text/plain' });
  response.flushHeaders();
  try {
    for await (const chunk of log) {
      if (signal.aborted) break;
      if (!response.write(chunk)) await once(response, 'drain', { signal });
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    response.end();
  }
}

function optionsOf(query: URLSearchParams): LogOptions {
  const number = (name: string): Record<string, number> => {
    const text = query.get(name);
    if (text === null || text === '') return {};
    const value = Number(text);
    if (!Number.isInteger(value) || value < 0)
      throw badRequest(`${name} must be a whole number and not below 0`);
    return { [name]: value };
  };
  return {
    follow: flag(query, 'follow'),
    timestamps: flag(query, 'timestamps'),
    ...number('tailLines'),
    ...number('sinceSeconds'),
    ...number('limitBytes'),
  };
}
