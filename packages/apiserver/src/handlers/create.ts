import { randomUUID } from 'node:crypto';
import { rfc3339 } from '@mural/core';
import { trackUpdate } from '../apply/index.ts';
import type { Api } from '../api.ts';
import type { ObjectAnswer } from '../http/answer.ts';
import { decodeObject, readBody } from '../http/body.ts';
import type { ResourceRequest } from '../http/request.ts';
import type { Stored } from '../objects.ts';
import { withMeta } from '../objects.ts';
import { toServed, toStored } from '../resources/convert.ts';
import { hasGeneration, prepareCreate } from '../resources/strategy.ts';
import { groupVersion } from '../resources/types.ts';
import { alreadyExists, badRequest, forbidden } from '../status.ts';
import type { Transaction } from '../storage/store.ts';
import { admitWrite, afterAdmission } from './admission.ts';
import { checkNamespace, checkUnknown, warnUnenforced, checkValid, normalize, decoded } from './admit.ts';
import type { Write } from './options.ts';
import { writeOf } from './options.ts';

/** POST to a collection. */
export async function createObject(api: Api, request: ResourceRequest): Promise<ObjectAnswer> {
  const write = writeOf(api, request);
  const sent = decoded(decodeObject(await readBody(request.message)), request.resource);
  checkUnknown(sent, write);
  warnUnenforced(write);
  if ((sent.metadata.resourceVersion ?? '') !== '') {
    throw badRequest('resourceVersion should not be set on objects to be created');
  }
  const stored = await api.store.write((transaction) => insert(transaction, write, sent));
  return {
    type: 'object',
    status: 201,
    object: toServed(stored, request.resource),
    resource: request.resource,
  };
}

/** What kind of creation it is: an apply has settled the managed fields itself. */
export interface InsertOptions {
  readonly tracked?: boolean;
}

/** Stores a new object, or only says what it would be in a dry run. */
export function insert(
  transaction: Transaction,
  write: Write,
  sent: Stored,
  options: InsertOptions = {},
): Stored {
  const { resource } = write.request;
  const named = withIdentity(sent, write, transaction);
  checkNamespace(transaction, resource, named);
  const prepared = prepareCreate(named, resource);
  let object = normalize(prepared, resource);
  if (hasGeneration(resource)) object = withMeta(object, { generation: 1 });
  admitWrite({ write, transaction, object, before: undefined });
  checkValid(object, resource, undefined);
  const place = [resource.storage, object.metadata.namespace ?? '', object.metadata.name ?? ''] as const;
  const there = transaction.get(...place);
  if (there !== undefined) {
    throw alreadyExists(resource, place[2], there.metadata.deletionTimestamp !== undefined);
  }
  if (options.tracked !== true) object = track(object, undefined, write);
  object = toStored(afterAdmission(object, undefined, transaction, write), resource);
  return write.dryRun ? object : transaction.put(resource.storage, object);
}

/** Records who owns which field after a write that is not an apply. */
export function track(object: Stored, before: Stored | undefined, write: Write): Stored {
  const { resource, info } = write.request;
  const { subresource } = info;
  const main = subresource === '' && resource.subresources.has('status');
  return trackUpdate({
    before,
    after: object,
    manager: write.manager,
    schema: resource.schema(),
    now: write.now,
    apiVersion: groupVersion(resource),
    ...(main ? { ignore: ['status'] } : {}),
    ...(subresource === '' ? {} : { subresource }),
  }) as Stored;
}

function withIdentity(sent: Stored, write: Write, transaction: Transaction): Stored {
  const { resource, info } = write.request;
  const { metadata } = sent;
  const namespace = resource.namespaced ? info.namespace : undefined;
  const given = metadata.namespace ?? '';
  if (given !== '' && given !== (namespace ?? '')) {
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
  }
  if (resource.custom?.terminating === true) {
    const name = metadata.name ?? '';
    throw forbidden(resource, name, 'create not allowed while custom resource definition is terminating');
  }
  return withMeta(sent, {
    name: nameOf(sent, write, transaction),
    namespace,
    uid: randomUUID(),
    resourceVersion: undefined,
    creationTimestamp: rfc3339(write.now),
    generation: undefined,
    deletionTimestamp: undefined,
    deletionGracePeriodSeconds: undefined,
  });
}

/** The letters of generated names: no vowels, so no words; nothing that looks like another. */
const LETTERS = 'bcdfghjklmnpqrstvwxz2456789';
const SUFFIX = 5;
const PREFIX_LIMIT = 63 - SUFFIX;
const TRIES = 8;

function nameOf(sent: Stored, write: Write, transaction: Transaction): string {
  const { name = '', generateName = '' } = sent.metadata;
  if (name !== '' || generateName === '') return name;
  const { resource, info } = write.request;
  const namespace = resource.namespaced ? info.namespace : '';
  let generated = '';
  for (let attempt = 0; attempt < TRIES; attempt += 1) {
    let suffix = '';
    for (let index = 0; index < SUFFIX; index += 1) {
      suffix += LETTERS[Math.floor(write.api.random() * LETTERS.length)] ?? 'x';
    }
    generated = generateName.slice(0, PREFIX_LIMIT) + suffix;
    if (transaction.get(resource.storage, namespace, generated) === undefined) break;
  }
  return generated;
}
