import { isRecord } from '@mural/core';
import type { Api } from '../api.ts';
import type { DocumentAnswer } from '../http/answer.ts';
import { decodeObject, readBody } from '../http/body.ts';
import type { ResourceRequest } from '../http/request.ts';
import type { Stored } from '../objects.ts';
import { dig, digString, setIn } from '../objects.ts';
import { selectorText } from '../tables/workload-cells.ts';
import { badRequest, invalid, notFound } from '../status.ts';
import { readPatch, runPatch } from './patch.ts';
import type { Write } from './options.ts';
import { writeOf } from './options.ts';
import { checkVersion, liveOf, update } from './update.ts';

interface Paths {
  readonly spec: readonly string[];
  readonly status: readonly string[];
  readonly selector: readonly string[] | undefined;
}

/** GET, PUT and PATCH of the subresource `scale` (`autoscaling/v1` `Scale`). */
export async function scaleObject(api: Api, request: ResourceRequest): Promise<DocumentAnswer> {
  const { resource, info } = request;
  const paths = pathsOf(request);
  if (info.verb === 'get') {
    const live = api.store.get(resource.storage, info.namespace, info.name);
    if (live === undefined) throw notFound(resource, info.name);
    return { type: 'document', status: 200, document: scaleOf(live, paths) };
  }
  const write = writeOf(api, request);
  const body = await readBody(request.message);
  const decide =
    info.verb === 'patch'
      ? readPatch(body, { ...resource, schema: () => undefined })
      : constant(decodeObject(body));
  const stored = await api.store.write((transaction) => {
    const live = liveOf(transaction, request);
    if (live === undefined) throw notFound(resource, info.name);
    const scale = runPatch(() => decide(scaleOf(live, paths)));
    return update(transaction, write, live, rescaled(scale, live, paths, write));
  });
  return { type: 'document', status: 200, document: scaleOf(stored, paths) };
}

function constant(value: Record<string, unknown>): () => Record<string, unknown> {
  return () => value;
}

function pathsOf({ resource }: ResourceRequest): Paths {
  const custom = resource.custom?.scale;
  if (custom === undefined) {
    return { spec: ['spec', 'replicas'], status: ['status', 'replicas'], selector: ['spec', 'selector'] };
  }
  const split = (path: string): string[] => path.replace(/^\./, '').split('.');
  return {
    spec: split(custom.spec),
    status: split(custom.status),
    selector: custom.selector === undefined ? undefined : split(custom.selector),
  };
}

function scaleOf(object: Stored, paths: Paths): Stored {
  const replicas = dig(object, ...paths.spec);
  const current = dig(object, ...paths.status);
  const selector = paths.selector === undefined ? undefined : dig(object, ...paths.selector);
  const text = typeof selector === 'string' ? selector : selectorOf(selector);
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp } as Stored['metadata'],
    spec: typeof replicas === 'number' ? { replicas } : {},
    status: {
      replicas: typeof current === 'number' ? current : 0,
      ...(text === '' ? {} : { selector: text }),
    },
  };
}

function selectorOf(selector: unknown): string {
  if (!isRecord(selector)) return '';
  // ReplicationControllers select by plain labels.
  const plain = !('matchLabels' in selector) && !('matchExpressions' in selector);
  const text = selectorText(plain ? { matchLabels: selector } : selector);
  return text === '<none>' ? '' : text;
}

function rescaled(scale: Record<string, unknown>, live: Stored, paths: Paths, write: Write): Stored {
  const name = digString(scale, 'metadata', 'name');
  if (name !== '' && name !== write.request.info.name) {
    throw badRequest(
      `the name of the object (${name}) does not match the name on the URL (${write.request.info.name})`,
    );
  }
  const { resource } = write.request;
  checkVersion({ ...live, metadata: { ...live.metadata, ...versionOf(scale) } }, live, resource, true);
  const replicas = dig(scale, 'spec', 'replicas') ?? 0;
  if (typeof replicas !== 'number' || !Number.isInteger(replicas) || replicas < 0) {
    const detail = 'must be greater than or equal to 0';
    throw invalid({ group: 'autoscaling', kind: 'Scale' }, live.metadata.name ?? '', [
      { field: 'spec.replicas', type: 'Invalid', detail, badValue: replicas },
    ]);
  }
  return setIn(live, paths.spec, replicas) as Stored;
}

function versionOf(scale: Record<string, unknown>): { readonly resourceVersion?: string } {
  const resourceVersion = digString(scale, 'metadata', 'resourceVersion');
  return resourceVersion === '' ? {} : { resourceVersion };
}
