/** The metrics of PMI servers and jobs in Prometheus' form. docs/metrics.md lists them. */
import { PmiError } from './errors';
import type { MetricsSource, PmiMetrics } from './metrics';

/** A `Registry` of the package prom-client, version 15. */
export interface MetricsRegistry {
  /** Adds a metric. */
  registerMetric(metric: never): void;
}

interface Row {
  value: number;
  labels: Record<string, string>;
  /** Of a histogram: the name of the row. */
  metricName?: string;
}

interface Metric {
  readonly type: 'gauge' | 'counter' | 'histogram';
  readonly help: string;
  readonly rows: (metrics: PmiMetrics, name: string) => Row[];
}

const one =
  (value: (metrics: PmiMetrics) => number): Metric['rows'] =>
  (metrics) => [{ value: value(metrics), labels: {} }];

const by =
  (label: string, values: (metrics: PmiMetrics) => Record<string, number>): Metric['rows'] =>
  (metrics) =>
    Object.entries(values(metrics)).map(([key, value]) => ({ value, labels: { [label]: key } }));

function histogram({ barrierDurations: { bounds, counts, sum } }: PmiMetrics, name: string): Row[] {
  let total = 0;
  const buckets = counts.map((count, i) => ({
    value: (total += count),
    labels: { le: i < bounds.length ? String(bounds[i]) : '+Inf' },
    metricName: `${name}_bucket`,
  }));
  return [
    ...buckets,
    { value: sum, labels: {}, metricName: `${name}_sum` },
    { value: total, labels: {}, metricName: `${name}_count` },
  ];
}

/** All metrics, by name. docs/metrics.md has the same table. */
export const metricTable: Readonly<Record<string, Metric>> = {
  wireup_process_groups: {
    type: 'gauge',
    help: 'Process groups: the launched one, and those that ranks have spawned and that still run.',
    rows: one(({ processGroups }) => processGroups),
  },
  wireup_ranks: {
    type: 'gauge',
    help: 'Ranks by their state in PMI.',
    rows: by('state', ({ ranks }) => ranks),
  },
  wireup_barrier_waiting_ranks: {
    type: 'gauge',
    help: 'Ranks that wait in a barrier of all ranks.',
    rows: one(({ waitingRanks }) => waitingRanks),
  },
  wireup_unidentified_connections: {
    type: 'gauge',
    help: 'Connections that have not proved which rank they are.',
    rows: one(({ unidentified }) => unidentified),
  },
  wireup_pmi_requests_total: {
    type: 'counter',
    help: 'Received PMI messages, by command.',
    rows: by('command', ({ requests }) => requests),
  },
  wireup_pmi_invalid_requests_total: {
    type: 'counter',
    help: 'Received PMI messages that were invalid.',
    rows: one(({ invalidRequests }) => invalidRequests),
  },
  wireup_pmi_received_bytes_total: {
    type: 'counter',
    help: 'Bytes received over PMI connections.',
    rows: one(({ receivedBytes }) => receivedBytes),
  },
  wireup_pmi_sent_bytes_total: {
    type: 'counter',
    help: 'Bytes sent over PMI connections.',
    rows: one(({ sentBytes }) => sentBytes),
  },
  wireup_refused_connections_total: {
    type: 'counter',
    help: 'Refused connections, by reason.',
    rows: by('reason', ({ refused }) => refused),
  },
  wireup_barriers_total: {
    type: 'counter',
    help: 'Complete barriers of all ranks of a process group.',
    rows: one(({ barriers }) => barriers),
  },
  wireup_barrier_duration_seconds: {
    type: 'histogram',
    help: 'Time from the first rank of a host that entered a barrier until the release.',
    rows: histogram,
  },
  wireup_kvs_keys: {
    type: 'gauge',
    help: 'Keys in the key-value spaces.',
    rows: one(({ kvsKeys }) => kvsKeys),
  },
  wireup_kvs_bytes: {
    type: 'gauge',
    help: 'Memory of keys and values on the host with the most.',
    rows: one(({ kvsBytes }) => kvsBytes),
  },
  wireup_events_waiting: {
    type: 'gauge',
    help: 'Events that wait for the reader that is behind the most.',
    rows: one(({ eventsWaiting }) => eventsWaiting),
  },
  wireup_events_missed_total: {
    type: 'counter',
    help: 'Events that slow readers have lost.',
    rows: one(({ eventsMissed }) => eventsMissed),
  },
  wireup_reactor_turns_total: {
    type: 'counter',
    help: 'Turns of the event loops that serve the ranks.',
    rows: one(({ reactorTurns }) => reactorTurns),
  },
};

interface Entry {
  readonly source: MetricsSource;
  readonly labels: Readonly<Record<string, string>>;
}

/** The sources of one registry. */
class Sources {
  readonly entries = new Set<Entry>();
  #reading: Promise<[Entry, PmiMetrics][]> | undefined;

  /** A scrape asks for each metric at once, and gets the same figures for all of them. */
  read(): Promise<[Entry, PmiMetrics][]> {
    return (this.#reading ??= this.#ask().finally(() => (this.#reading = undefined)));
  }

  async #ask(): Promise<[Entry, PmiMetrics][]> {
    const entries = [...this.entries];
    const found = await Promise.allSettled(entries.map(({ source }) => source.metrics()));
    return found.flatMap((result, i): [Entry, PmiMetrics][] => {
      if (result.status === 'fulfilled') return [[entries[i]!, result.value]];
      this.entries.delete(entries[i]!);
      return [];
    });
  }
}

/** What prom-client's Registry expects of a metric. */
class RegisteredMetric {
  readonly aggregator = 'sum';
  // prom-client writes it, for OpenMetrics.
  name: string;
  readonly #metric: Metric;
  readonly #sources: Sources;

  constructor(name: string, metric: Metric, sources: Sources) {
    this.name = name;
    this.#metric = metric;
    this.#sources = sources;
  }

  get type(): string {
    return this.#metric.type;
  }

  get help(): string {
    return this.#metric.help;
  }

  async get(): Promise<{ name: string; help: string; type: string; values: Row[]; aggregator: string }> {
    const { name, help, type, aggregator } = this;
    const values = (await this.#sources.read()).flatMap(([entry, metrics]) =>
      this.#metric.rows(metrics, name).map((row) => ({ ...row, labels: { ...row.labels, ...entry.labels } })),
    );
    return { name, help, type, values, aggregator };
  }

  /** The figures are the servers' own. */
  reset(): void {}
}

const registered = new WeakMap<MetricsRegistry, Sources>();

const labelName = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
const ownLabels = ['state', 'command', 'reason', 'le'];

/** Removes the metrics of a source from the registry. */
export type RemoveMetrics = () => void;

/**
 * Adds the metrics of a server or job to a registry of the package prom-client. A scrape then asks for the figures. Several
 * sources can be in one registry if their labels differ. When a source has ended, it has no rows any more.
 *
 * wireup does not load prom-client: it calls the registry that it gets.
 *
 * @param labels added to each row; none by default. Their names must not be `state`, `command`, `reason` or `le`
 * @returns removes the source from the registry
 * @throws {@link PmiError} `ERR_PMI_OPTION`: a label has a wrong name, or another source has the same labels
 */
export function registerMetrics(
  registry: MetricsRegistry,
  source: MetricsSource,
  labels: Readonly<Record<string, string>> = {},
): RemoveMetrics {
  const wrong = Object.keys(labels).find((name) => !labelName.test(name) || ownLabels.includes(name));
  if (wrong !== undefined) {
    throw new PmiError(
      'ERR_PMI_OPTION',
      `labels: expected letters, digits and _, and not ${ownLabels.join(', ')}, got '${wrong}'`,
    );
  }
  const known = registered.get(registry);
  const sources = known ?? new Sources();
  const textOf = (of: Readonly<Record<string, string>>): string => JSON.stringify(Object.entries(of).sort());
  if ([...sources.entries].some((other) => textOf(other.labels) === textOf(labels)))
    throw new PmiError('ERR_PMI_OPTION', 'labels: expected other ones than those of another source');
  if (known === undefined) {
    for (const [name, metric] of Object.entries(metricTable))
      registry.registerMetric(new RegisteredMetric(name, metric, sources) as never);
    registered.set(registry, sources);
  }
  const entry = { source, labels: { ...labels } };
  sources.entries.add(entry);
  return () => void sources.entries.delete(entry);
}
