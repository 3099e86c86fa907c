// The delays of the event loop of a process that launches RANKS ranks and reads their events. The ranks exchange
// business cards as in `wireup bench exchange`. `node event-loop.mjs RANKS [TRANSPORT]`
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { launch } from '../../dist/index.mjs';

const [size, pmi = 'fd', inside] = process.argv.slice(2);
const folder = join(import.meta.dirname, '../../build/Release');
if (inside === undefined) {
  const caller = [process.execPath, import.meta.filename, size, pmi, 'inside'];
  process.exit(
    spawnSync(join(folder, 'wireup-bench'), ['conduct', 'exchange', size, '64', '0', ...caller], {
      stdio: ['ignore', 'ignore', 'inherit'],
    }).status,
  );
}

// The histogram measures in steps of 1 ms. Each value is the step plus the delay.
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
