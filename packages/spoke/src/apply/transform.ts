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
 * Moves objects into `namespace`, as kustomize's namespace transformer does: every namespaced object,
 * and the subjects of role bindings that are service accounts of the set (or `default`).
 */
export function withNamespace(
  objects: readonly UnstructuredObject[],
  namespace: string,
  isNamespaced: (object: UnstructuredObject) => boolean,
): UnstructuredObject[] {
  const accounts = new Set(
    objects.filter(({ kind }) => kind === 'ServiceAccount').map(({ metadata }) => metadata.name ?? ''),
  );
  accounts.add('default');
  return objects.map((object) => {
    const moved = isNamespaced(object) ? { ...object, metadata: { ...object.metadata, namespace } } : object;
    if (!object.kind.endsWith('RoleBinding')) return moved;
    const subjects = moved['subjects'];
    if (!Array.isArray(subjects)) return moved;
    return {
      ...moved,
      subjects: subjects.map((subject: unknown) =>
        isRecord(subject) && subject['kind'] === 'ServiceAccount' && accounts.has(String(subject['name']))
          ? { ...subject, namespace }
          : subject,
      ),
    };
  });
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
