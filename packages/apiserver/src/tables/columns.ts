import recorded from '../generated/columns.json' with { type: 'json' };
import type { Stored } from '../objects.ts';
import { scalarText } from '../objects.ts';
import type { ApiResource, Column } from '../resources/types.ts';
import { groupVersion } from '../resources/types.ts';
import { age } from './ages.ts';
import type { Cell, CellOf } from './cells.ts';
import { CELLS } from './cells.ts';
import { EXTENSION_CELLS } from './extension-cells.ts';
import { type JsonPath, parseJsonPath } from './json-path.ts';
import { WORKLOAD_CELLS } from './workload-cells.ts';

/** As in `generated/columns.json`: name, type, format, priority. */
type Recorded = readonly [string, string, string, number];

const BUILTIN = new Map(
  Object.entries(recorded as unknown as Readonly<Record<string, readonly Recorded[]>>).map(
    ([key, columns]) => [
      key,
      columns.map(([name, type, format, priority]): Column => ({ name, type, format, priority })),
    ],
  ),
);
const BY_RESOURCE: Readonly<Record<string, Readonly<Record<string, CellOf>>>> = {
  ...CELLS,
  ...WORKLOAD_CELLS,
  ...EXTENSION_CELLS,
};
const NAME_AND_AGE: readonly Column[] = [
  { name: 'Name', type: 'string', format: 'name', priority: 0 },
  { name: 'Age', type: 'string', format: '', priority: 0 },
];
const COMMON: Readonly<Record<string, CellOf>> = {
  Name: (object) => object.metadata.name ?? '',
  Age: (object, now) => age(object.metadata.creationTimestamp, now),
  'Created At': (object) => object.metadata.creationTimestamp ?? '',
};

/** The columns of a resource's table. */
export function columnsOf(resource: ApiResource): readonly Column[] {
  if (resource.custom !== undefined) return resource.custom.columns;
  return BUILTIN.get(`${groupVersion(resource)} ${resource.plural}`) ?? NAME_AND_AGE;
}

/** The cells of one object, one for each column. */
export function cellsOf(
  object: Stored,
  resource: ApiResource,
  columns: readonly Column[],
  now: number,
): readonly Cell[] {
  const own = BY_RESOURCE[resource.storage] ?? {};
  return columns.map((column) => {
    if (column.jsonPath !== undefined) return customCell(object, column, now);
    const cell = own[column.name] ?? COMMON[column.name];
    return cell === undefined ? '<none>' : cell(object, now);
  });
}

const paths = new WeakMap<Column, JsonPath>();

function customCell(object: Stored, column: Column, now: number): Cell {
  let path = paths.get(column);
  if (path === undefined) {
    path = parseJsonPath(column.jsonPath ?? '') ?? ((): unknown[] => []);
    paths.set(column, path);
  }
  const [value] = path(object);
  if (value === undefined || value === null) return null;
  switch (column.type) {
    case 'date':
      return typeof value === 'string' ? age(value, now) : '<unknown>';
    case 'integer':
      return typeof value === 'number' ? Math.trunc(value) : null;
    case 'number':
      return typeof value === 'number' ? value : null;
    case 'boolean':
      return typeof value === 'boolean' ? value : null;
    default:
      return typeof value === 'object' ? JSON.stringify(value) : scalarText(value);
  }
}
