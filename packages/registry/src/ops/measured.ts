/** One metric, and what it is now. */
export interface Measured {
  /** Without the prefix `mural_registry_`. */
  readonly name: string;
  readonly type: 'counter' | 'gauge';
  readonly help: string;
  /** Names of the labels, where there may be no values. */
  readonly labels?: readonly string[];
  /** Each with the same labels, the names of which are ours and never a repository's. */
  readonly values: readonly {
    readonly labels?: Readonly<Record<string, string>>;
    readonly value: number;
  }[];
}

/** A counter without labels. */
export function counter(name: string, help: string, value: number): Measured {
  return { name, type: 'counter', help, values: [{ value }] };
}

/** A gauge without labels. */
export function gauge(name: string, help: string, value: number): Measured {
  return { name, type: 'gauge', help, values: [{ value }] };
}

/** A metric with one label. */
export function labelled(
  type: Measured['type'],
  [name, help]: readonly [string, string],
  label: string,
  values: Readonly<Record<string, number>>,
): Measured {
  const entries = Object.entries(values);
  return { name, type, help, values: entries.map(([is, value]) => ({ labels: { [label]: is }, value })) };
}
