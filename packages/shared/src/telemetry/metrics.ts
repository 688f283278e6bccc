// What a process measures, and its text for Prometheus (docs/metrics.md). Parts keep plain numbers, and a scrape reads
// them: between two scrapes nothing runs, and a part needs no library to count. The promise: a scrape is bounded in
// time, whatever is away, and scrapes at the same time cost one collection.
import type { Metric, Registry } from '@prometheus-io/client';
import { settleWithin } from '../backoff.ts';
import { measureRuntime } from './runtime-metrics.ts';

export type Labels = Readonly<Record<string, string>>;

/** A number, one for each set of labels, or undefined while it is not known: then the scrape has no line for it. */
type Reading = number | readonly (readonly [labels: Labels, value: number])[] | undefined;

interface Described {
  /** By Prometheus' rules: with the unit at its end, and `_total` for a counter. */
  name: string;
  /** One line for people. */
  help: string;
}

interface HistogramDefinition extends Described {
  labels: readonly string[];
  /** Upper bounds, in the unit of the name. Default: `durationBuckets`. */
  buckets?: readonly number[];
}

/** Records a value. @param labels their values, in the order of the definition */
export type Observe = (labels: readonly string[], value: number) => void;

/** Seconds, as OpenTelemetry's semantic conventions advise for requests. */
const durationBuckets = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10] as const;

/** A scrape waits for a source this long, in milliseconds. Prometheus itself waits 10 s by default. */
const sourceTimeoutMs = 1_000;

/** What must be asked, such as the database. */
interface Source {
  isAsking: boolean;
  value: unknown;
  isAnswered: boolean;
  read(): Promise<unknown>;
}

type Client = typeof import('@prometheus-io/client');

/** Of the process, in which there may be several services: made once. */
let runtime: Metrics | undefined;

/** Loads the library, which a process without METRICS_PORT does not need. */
export async function createMetrics(): Promise<Metrics> {
  const client = await import('@prometheus-io/client');
  if (!runtime) {
    runtime = new Metrics(client);
    measureRuntime(runtime);
  }
  const metrics = new Metrics(client);
  metrics.include(runtime);
  metrics.observeSources();
  return metrics;
}

export type { Metrics };

class Metrics {
  readonly #client: Client;
  readonly #registry: Registry;
  readonly #sources = new Map<string, Source>();
  #collecting: Promise<string> | undefined;

  constructor(client: Client) {
    this.#client = client;
    this.#registry = new client.Registry();
  }

  /** Adds all metrics of another one. Its sources are not asked. */
  include(other: Metrics): void {
    for (const metric of other.#registry.getMetricsAsArray())
      this.#registry.registerMetric(metric as unknown as Metric);
  }

  /** Whether each source has answered. */
  observeSources(): void {
    this.gauge(
      { name: 'promopulse_metrics_source_up', help: 'Whether the source answered this scrape in time: 1 or 0.' },
      () => [...this.#sources].map(([source, { isAnswered }]) => [{ source }, isAnswered ? 1 : 0]),
    );
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** A value that goes up and down. @throws Error when the name is taken, as every function below does */
  gauge(described: Described, read: () => Reading): void {
    this.#observe(described, 'gauge', read);
  }

  /** A value that only rises while the process lives. */
  counter(described: Described, read: () => Reading): void {
    this.#observe(described, 'counter', read);
  }

  histogram({ name, help, labels, buckets }: HistogramDefinition): Observe {
    const options = { name, help, labelNames: [...labels], buckets: [...(buckets ?? durationBuckets)] };
    const histogram = new this.#client.Histogram({ ...options, registers: [this.#registry] });
    // To find the labels in the library costs more than the rest.
    const known = new Map<string, ReturnType<typeof histogram.labels>>();
    return (values, value) => {
      const key = values.join('\n');
      let series = known.get(key);
      if (!series) {
        series = histogram.labels(...values);
        known.set(key, series);
      }
      series.observe(value);
    };
  }

  /**
   * Asks at each scrape. A question that is not answered yet is not asked again.
   * @returns what it answered to this scrape; undefined when it did not, or not in time
   */
  source<Value>(name: string, read: () => Promise<Value>): () => Value | undefined {
    const source: Source = { isAsking: false, value: undefined, isAnswered: false, read };
    this.#sources.set(name, source);
    return () => source.value as Value | undefined;
  }

  /** @returns the text of all metrics @throws what a `read` of a gauge or a counter throws: that is a defect */
  collect(): Promise<string> {
    this.#collecting ??= this.#collect().finally(() => {
      this.#collecting = undefined;
    });
    return this.#collecting;
  }

  async #collect(): Promise<string> {
    await Promise.all([...this.#sources.values()].map(ask));
    return await this.#registry.metrics();
  }

  #observe({ name, help }: Described, type: 'gauge' | 'counter', read: () => Reading): void {
    const get = async () => ({ name, help, type, aggregator: 'sum', values: valuesOf(read()) });
    // A metric of the library would show 0 for a number that is not known.
    this.#registry.registerMetric({ name, help, type, get } as unknown as Metric);
  }
}

async function ask(source: Source): Promise<void> {
  source.isAnswered = false;
  source.value = undefined;
  if (source.isAsking) return;
  source.isAsking = true;
  let isLate = false;
  const asking = source
    .read()
    .then((value) => {
      if (!isLate) Object.assign(source, { value, isAnswered: true });
    })
    .catch(() => undefined) // its log says why
    .finally(() => {
      source.isAsking = false;
    });
  isLate = !(await settleWithin(sourceTimeoutMs, asking));
}

function valuesOf(reading: Reading): { labels: Labels; value: number }[] {
  if (reading === undefined) return [];
  if (typeof reading === 'number') return [{ labels: {}, value: reading }];
  return reading.map(([labels, value]) => ({ labels, value }));
}
