// How long JavaScript of a launch's owner ever has to wait while its ranks wire up, with a consumer of events: the delays
// of its event loop. `node event-loop.mjs RANKS [TRANSPORT]`; the ranks exchange cards as in `wireup bench exchange`.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { launch } from '../../dist/index.mjs';

const [size, pmi = 'fd', inside] = process.argv.slice(2);
const folder = join(import.meta.dirname, '../../build/Release');
if (inside === undefined) {
  const owner = [process.execPath, import.meta.filename, size, pmi, 'inside'];
  process.exit(
    spawnSync(join(folder, 'wireup-bench'), ['conduct', 'exchange', size, '64', '0', ...owner], {
      stdio: ['ignore', 'ignore', 'inherit'],
    }).status,
  );
}

// In steps of 1 ms; what it counts is that step and the delay.
const delays = monitorEventLoopDelay({ resolution: 1 });
const job = await launch({
  program: join(folder, 'wireup-bench-client'),
  ranks: Number(size),
  pmi,
  execShim: false,
});
delays.enable();
let events = 0;
for await (const event of job.events()) events += event.type === undefined ? 0 : 1;
delays.disable();
const { exitCode } = await job.result;
const ms = (ns) => `${(ns / 1e6).toFixed(1)} ms`;
console.error(
  `${size} ranks, ${pmi}: ${events} events; the event loop comes round after ${ms(delays.percentile(50))} (median), ${ms(delays.percentile(99))} (99 %), ${ms(delays.max)} (most)`,
);
process.exitCode = exitCode;
