import { collectDefaultMetrics, Counter, Gauge, type Metric, Registry } from 'prom-client';
import type { Measured } from './measured.ts';
import { DURATION_BUCKETS, type Tallies } from './tallies.ts';

const PREFIX = 'mural_registry_';

/** The metrics of the process are those of all registries in it, and are watched once. */
let shared: Registry | undefined;

/** The content type of {@link Exposition.text}. */
export const EXPOSITION_TYPE = Registry.PROMETHEUS_CONTENT_TYPE;

/**
 * Metrics in the text format of Prometheus 0.0.4. Everything is counted elsewhere and only written
 * here, so that a request pays nothing for labels.
 */
export class Exposition {
  readonly #registry = new Registry();
  readonly #metrics = new Map<string, Counter | Gauge>();
  readonly #tallies: Tallies;

  constructor(tallies: Tallies) {
    this.#tallies = tallies;
    this.#registry.registerMetric(durations(tallies));
    if (shared !== undefined) return;
    shared = new Registry();
    collectDefaultMetrics({ register: shared });
  }

  /** All of it, with what was measured besides requests. */
  async text(measured: Iterable<Measured>): Promise<string> {
    for (const metric of this.#metrics.values()) metric.reset();
    this.#write({
      name: 'requests_total',
      type: 'counter',
      help: 'Requests by method, by what the path names and by class of status; 499 is a client that was gone.',
      labels: ['route', 'method', 'code'],
      values: Array.from(this.#tallies.requests(), ({ count, ...labels }) => ({ labels, value: count })),
    });
    for (const measure of measured) this.#write(measure);
    return `${await this.#registry.metrics()}\n${(await shared?.metrics()) ?? ''}`;
  }

  #write(measured: Measured): void {
    const { name, values } = measured;
    const metric = this.#metrics.get(name) ?? this.#create(measured);
    for (const { labels = {}, value } of values) metric.inc(labels, value);
  }

  #create({
    name,
    type,
    help,
    values,
    labels = Object.keys(values[0]?.labels ?? {}),
  }: Measured): Counter | Gauge {
    const settings = {
      name: PREFIX + name,
      help,
      labelNames: labels,
      registers: [this.#registry],
    };
    const metric = type === 'counter' ? new Counter(settings) : new Gauge(settings);
    this.#metrics.set(name, metric);
    // A metric without labels begins at 0, which is then counted up to its value.
    metric.reset();
    return metric;
  }
}

/** A histogram out of counts that there are already, which the library's own cannot be given. */
function durations(tallies: Tallies): Metric {
  const name = `${PREFIX}request_duration_seconds`;
  const metric = {
    name,
    help: 'How long requests took, to the last byte of the answer.',
    type: 'histogram',
    aggregator: 'sum',
    get: async () => ({ name, help: metric.help, type: metric.type, values: bucketsOf(name, tallies) }),
    reset: () => undefined,
  };
  return metric as unknown as Metric;
}

function bucketsOf(name: string, tallies: Tallies): object[] {
  const values: object[] = [];
  for (const { route, method, buckets, sumSeconds, count } of tallies.durations()) {
    let total = 0;
    for (const [index, one] of buckets.entries()) {
      total += one;
      const le = DURATION_BUCKETS[index] ?? '+Inf';
      values.push({ metricName: `${name}_bucket`, labels: { le, method, route }, value: total });
    }
    values.push({ metricName: `${name}_sum`, labels: { method, route }, value: sumSeconds });
    values.push({ metricName: `${name}_count`, labels: { method, route }, value: count });
  }
  return values;
}
