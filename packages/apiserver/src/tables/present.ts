import type { ListAnswer } from '../http/answer.ts';
import type { Presentation } from '../http/accept.ts';
import type { Stored } from '../objects.ts';
import type { ApiResource } from '../resources/types.ts';
import { cellsOf, columnsOf } from './columns.ts';

/** How rows are filled. */
export interface PresentOptions {
  /** `None`, `Metadata` or `Object`: what each row of a table carries of its object. */
  readonly includeObject: string;
  /** The time that ages are counted to, in milliseconds. */
  readonly now: number;
}

/** One object as a table of one row, or its metadata alone. */
export function present(
  object: Stored,
  resource: ApiResource,
  presentation: Presentation,
  options: PresentOptions,
): object {
  if (presentation.as === 'table') {
    const metadata = { resourceVersion: object.metadata.resourceVersion };
    return table([object], metadata, resource, presentation, options);
  }
  return partial(object, presentation);
}

/** A list as a table, or as a list of metadata. */
export function presentList(answer: ListAnswer, presentation: Presentation, options: PresentOptions): object {
  if (presentation.as === 'table') {
    return table(answer.items, answer.metadata, answer.resource, presentation, options);
  }
  return {
    kind: 'PartialObjectMetadataList',
    apiVersion: `meta.k8s.io/${presentation.metaVersion}`,
    metadata: answer.metadata,
    items: answer.items.map((item) => partial(item, presentation)),
  };
}

/** `metav1.PartialObjectMetadata`. */
export function partial(object: Stored, presentation: Presentation): object {
  return {
    kind: 'PartialObjectMetadata',
    apiVersion: `meta.k8s.io/${presentation.metaVersion}`,
    metadata: object.metadata,
  };
}

function table(
  items: readonly Stored[],
  metadata: object,
  resource: ApiResource,
  presentation: Presentation,
  options: PresentOptions,
): object {
  const columns = columnsOf(resource);
  return {
    kind: 'Table',
    apiVersion: `meta.k8s.io/${presentation.metaVersion}`,
    metadata,
    columnDefinitions: columns.map(({ name, type, format, priority, description }) => ({
      name,
      type,
      format,
      description: description ?? '',
      priority,
    })),
    rows: items.map((item) => ({
      cells: cellsOf(item, resource, columns, options.now),
      ...rowObject(item, presentation, options),
    })),
  };
}

function rowObject(item: Stored, presentation: Presentation, options: PresentOptions): object {
  if (options.includeObject === 'None') return {};
  return { object: options.includeObject === 'Object' ? item : partial(item, presentation) };
}
