/** The options by which `wireup run` and `wireup serve` offer metrics to Prometheus. */
import type { MetricsServer } from './metrics-server';
import type { OptionTable, Values } from './option';
import { report } from './report';

const group = 'Metrics:';

export const metricsOptions = {
  metrics: {
    value: '<address>',
    help: 'answer HTTP requests for /metrics, in the form of Prometheus, while the job runs: host:port or tcp://host:port on this machine (with port 0 the kernel chooses one), or unix:///path, which only your own user can connect to',
    group,
    checkedAs: 'metrics',
  },
  metricsRemote: {
    help: 'the address of --metrics may be one that other machines reach. The answers are clear text for everybody there',
    group,
    needs: 'metrics',
  },
} as const satisfies OptionTable;

/**
 * Listens, if the options ask for it.
 *
 * @param verbose report the address; it is always reported if the kernel chooses the port
 */
export async function startMetrics(
  { metrics, metricsRemote }: Values<typeof metricsOptions>,
  verbose: boolean,
): Promise<MetricsServer | undefined> {
  if (metrics === undefined) return undefined;
  // Only here, because prom-client and node:http take longer to load than a rank takes to start.
  const { listenForMetrics } = require('./metrics-server') as typeof import('./metrics-server.js');
  const server = await listenForMetrics(metrics, metricsRemote);
  if (verbose || server.portChosen) report(`metrics at ${server.url}`);
  return server;
}
