import { isRecord } from '@mural/core';
import type { KustomizationSpec, UnstructuredObject } from '@mural/kube';

type Image = NonNullable<KustomizationSpec['images']>[number];
type CommonMetadata = NonNullable<KustomizationSpec['commonMetadata']>;

/** A copy of `object` with labels and annotations set over its own. */
export function withMetadata(object: UnstructuredObject, common: CommonMetadata): UnstructuredObject {
  const { labels, annotations } = object.metadata;
  return {
    ...object,
    metadata: {
      ...object.metadata,
      ...(common.labels === undefined ? {} : { labels: { ...labels, ...common.labels } }),
      ...(common.annotations === undefined ? {} : { annotations: { ...annotations, ...common.annotations } }),
    },
  };
}

/**
 * Moves objects into `namespace`, as kustomize's namespace transformer does: every namespaced object, and
 * what refers to one by name and namespace: subjects of role bindings, and the services of webhooks and
 * APIs. A subject named `default` moves in any case.
 */
export function withNamespace(
  objects: readonly UnstructuredObject[],
  namespace: string,
  isNamespaced: (object: UnstructuredObject) => boolean,
): UnstructuredObject[] {
  const known = new Set(objects.map(({ kind, metadata }) => referenceKey(kind, metadata)));
  const moveReference = (kind: string, value: unknown): unknown =>
    isRecord(value) && known.has(referenceKey(kind, value)) ? { ...value, namespace } : value;
  const moveSubject = (value: unknown): unknown => {
    if (!isRecord(value) || value['kind'] !== 'ServiceAccount') return value;
    return value['name'] === 'default' ? { ...value, namespace } : moveReference('ServiceAccount', value);
  };
  return objects.map((object) => {
    const moved = isNamespaced(object) ? { ...object, metadata: { ...object.metadata, namespace } } : object;
    if (object.kind.endsWith('RoleBinding') && Array.isArray(moved['subjects'])) {
      return { ...moved, subjects: moved['subjects'].map(moveSubject) };
    }
    if (!HOLDS_SERVICES.has(object.kind)) return moved;
    return replaceServices(moved, (service) => moveReference('Service', service)) as UnstructuredObject;
  });
}

/** Kinds whose objects are not namespaced and say which service the API is to call. */
const HOLDS_SERVICES: ReadonlySet<string> = new Set([
  'APIService',
  'CustomResourceDefinition',
  'MutatingWebhookConfiguration',
  'ValidatingWebhookConfiguration',
]);
/** On the way to a service: `webhooks[].clientConfig`, `spec.conversion.webhook.clientConfig`, `spec`. */
const TO_SERVICE: ReadonlySet<string> = new Set([
  'webhooks',
  'spec',
  'conversion',
  'webhook',
  'clientConfig',
]);

function replaceServices(value: unknown, replace: (service: unknown) => unknown): unknown {
  if (Array.isArray(value)) return value.map((item) => replaceServices(item, replace));
  if (!isRecord(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => {
      if (key === 'service') return [key, replace(inner)];
      return [key, TO_SERVICE.has(key) ? replaceServices(inner, replace) : inner];
    }),
  );
}

function referenceKey(
  kind: string,
  { namespace, name }: { readonly namespace?: unknown; readonly name?: unknown },
): string {
  return JSON.stringify([kind, namespace ?? 'default', name]);
}

/** Replaces images by name in every `containers` and `initContainers` list, wherever it is. */
export function withImages(
  objects: readonly UnstructuredObject[],
  images: readonly Image[],
): UnstructuredObject[] {
  return objects.map((object) => replaceImages(object, images, false) as UnstructuredObject);
}

function replaceImages(value: unknown, images: readonly Image[], inContainers: boolean): unknown {
  if (Array.isArray(value)) return value.map((item) => replaceImages(item, images, inContainers));
  if (!isRecord(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => {
      if (inContainers && key === 'image' && typeof inner === 'string')
        return [key, replaceImage(inner, images)];
      return [key, replaceImages(inner, images, key === 'containers' || key === 'initContainers')];
    }),
  );
}

function replaceImage(reference: string, images: readonly Image[]): string {
  let result = reference;
  for (const image of images) {
    const match = /^(.+?)(:[\w][\w.-]{0,127})?(@[\w+.:-]+)?$/.exec(result);
    if (match?.[1] !== image.name) continue;
    const name = image.newName ?? image.name;
    if (image.digest !== undefined) result = `${name}@${image.digest}`;
    else if (image.newTag !== undefined) result = `${name}:${image.newTag}`;
    else result = `${name}${match[2] ?? ''}${match[3] ?? ''}`;
  }
  return result;
}
