/** Metrics in Prometheus' form, and the pages that describe them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { describe, expect, test } from 'vitest';
import { registerMetrics, type PmiMetrics } from '../../lib/index';
import { metricTable } from '../../lib/prometheus';

const docs = join(__dirname, '../../docs');

const figures: PmiMetrics = {
  processGroups: 2,
  ranks: { absent: 1, connected: 2, initialized: 3, finalized: 4, disconnected: 5 },
  waitingRanks: 6,
  unidentified: 7,
  requests: { get: 8, unknown: 0 },
  invalidRequests: 9,
  receivedBytes: 10,
  sentBytes: 11,
  refused: { peer: 12 },
  barriers: 13,
  barrierDurations: { bounds: [0.001, 1], counts: [1, 2, 3], sum: 14.5 },
  kvsKeys: 15,
  kvsBytes: 16,
  eventsWaiting: 17,
  eventsMissed: 18,
  reactorTurns: 19,
};

const source = (metrics: () => Promise<PmiMetrics> = () => Promise.resolve(figures)) => ({ metrics });

/** The rows of a page, without its comments. */
const rowsOf = (page: string): string[] => page.split('\n').filter((line) => /^wireup/.test(line));

describe('registerMetrics()', () => {
  test('adds a row for each figure', async () => {
    const registry = new Registry();
    registerMetrics(registry, source());
    const page = await registry.metrics();
    expect(rowsOf(page)).toEqual([
      'wireup_process_groups 2',
      'wireup_ranks{state="absent"} 1',
      'wireup_ranks{state="connected"} 2',
      'wireup_ranks{state="initialized"} 3',
      'wireup_ranks{state="finalized"} 4',
      'wireup_ranks{state="disconnected"} 5',
      'wireup_barrier_waiting_ranks 6',
      'wireup_unidentified_connections 7',
      'wireup_pmi_requests_total{command="get"} 8',
      'wireup_pmi_requests_total{command="unknown"} 0',
      'wireup_pmi_invalid_requests_total 9',
      'wireup_pmi_received_bytes_total 10',
      'wireup_pmi_sent_bytes_total 11',
      'wireup_refused_connections_total{reason="peer"} 12',
      'wireup_barriers_total 13',
      'wireup_barrier_duration_seconds_bucket{le="0.001"} 1',
      'wireup_barrier_duration_seconds_bucket{le="1"} 3',
      'wireup_barrier_duration_seconds_bucket{le="+Inf"} 6',
      'wireup_barrier_duration_seconds_sum 14.5',
      'wireup_barrier_duration_seconds_count 6',
      'wireup_kvs_keys 15',
      'wireup_kvs_bytes 16',
      'wireup_events_waiting 17',
      'wireup_events_missed_total 18',
      'wireup_reactor_turns_total 19',
    ]);
    expect(page).toContain('# HELP wireup_ranks Ranks by their state in PMI.\n# TYPE wireup_ranks gauge\n');
  });

  test('a page has the names of OpenMetrics if the registry is of that form', async () => {
    const registry = new Registry();
    registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as never);
    registerMetrics(registry, source());
    const page = await registry.metrics();
    expect(page).toContain('# TYPE wireup_barriers counter\nwireup_barriers_total 13\n');
    expect(page.endsWith('# EOF\n')).toBe(true);
  });

  test('a page asks its source once', async () => {
    const registry = new Registry();
    let asked = 0;
    registerMetrics(
      registry,
      source(() => Promise.resolve({ ...figures, kvsKeys: ++asked })),
    );
    expect(await registry.metrics()).toContain('wireup_kvs_keys 1\n');
    expect(await registry.metrics()).toContain('wireup_kvs_keys 2\n');
  });

  test('several sources differ by their labels', async () => {
    const registry = new Registry();
    registerMetrics(registry, source(), { program: 'a' });
    const remove = registerMetrics(registry, source(), { program: 'b' });
    expect(rowsOf(await registry.metrics())).toContain('wireup_kvs_keys{program="b"} 15');
    remove();
    const rows = rowsOf(await registry.metrics());
    expect(rows).toContain('wireup_kvs_keys{program="a"} 15');
    expect(rows).not.toContain('wireup_kvs_keys{program="b"} 15');
  });

  test('a source that has ended has no rows, and its labels are free', async () => {
    const registry = new Registry();
    registerMetrics(
      registry,
      source(() => Promise.reject(new Error('the job is closed'))),
    );
    expect(rowsOf(await registry.metrics())).toEqual([]);
    registerMetrics(registry, source());
    expect(rowsOf(await registry.metrics())).toContain('wireup_kvs_keys 15');
  });

  test.each([
    ['the labels of another source', {}],
    ['a label that the metrics have', { state: 'x' }],
    ['a label with a wrong name', { 'a-b': 'x' }],
  ])('refuses %s', (_, labels) => {
    const registry = new Registry();
    registerMetrics(registry, source());
    expect(() => registerMetrics(registry, source(), labels as Record<string, string>)).toThrow(
      expect.objectContaining({ code: 'ERR_PMI_OPTION' }),
    );
  });
});

describe('the documentation', () => {
  const labels: Record<string, string> = {
    wireup_ranks: '`state`',
    wireup_pmi_requests_total: '`command`',
    wireup_refused_connections_total: '`reason`',
    wireup_barrier_duration_seconds: '`le`',
  };

  test('docs/metrics.md lists each metric as it is', () => {
    const rows = Object.entries(metricTable).map(
      ([name, { type, help }]) =>
        `| \`${name}\` | ${type} | ${labels[name] ?? ''} | ${help.replace(/\.$/, '')} |`,
    );
    const page = readFileSync(join(docs, 'metrics.md'), 'utf8');
    const listed = page.split('\n').filter((line) => line.startsWith('| `wireup_'));
    expect(listed).toEqual(rows);
  });

  test('the labels in the documentation are those of the rows', () => {
    for (const [name, metric] of Object.entries(metricTable)) {
      const [row] = metric.rows(figures, name);
      expect(
        Object.keys(row!.labels)
          .map((label) => `\`${label}\``)
          .join(),
      ).toBe(labels[name] ?? '');
    }
  });

  test('each expression of the dashboard names metrics that exist, and each metric is in the dashboard', () => {
    const text = readFileSync(join(docs, 'grafana-dashboard.json'), 'utf8');
    const used = new Set(text.match(/wireup_\w+/g)!.map((name) => name.replace(/_(bucket|sum|count)$/, '')));
    expect([...used].sort()).toEqual(Object.keys(metricTable).sort());
  });
});
