// The delays of the event loop of a process that launches RANKS ranks and reads their events. The ranks exchange
// business cards as in `wireup bench exchange`. It also counts the turns that take more than a millisecond of the thread's
// processor time, which the load of the machine does not change. `node event-loop.mjs RANKS [TRANSPORT]`
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
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

/** Milliseconds of processor time of this thread. */
const processorTime = () => Number(readFileSync('/proc/thread-self/schedstat', 'utf8').split(' ')[0]) / 1e6;

// The histogram measures in steps of 1 ms. Each value is the step plus the delay.
const delays = monitorEventLoopDelay({ resolution: 1 });
const job = await launch({
  program: join(folder, 'wireup-bench-client'),
  ranks: Number(size),
  pmi,
  execShim: false,
});
delays.enable();
const turns = [];
const first = processorTime();
let last = first;
const endTurn = () => {
  const now = processorTime();
  turns.push(now - last);
  last = now;
};
const timer = setInterval(endTurn, 1);
let events = 0;
for await (const event of job.events()) events += event.type === undefined ? 0 : 1;
delays.disable();
clearInterval(timer);
endTurn();
const { exitCode } = await job.result;
const long = turns.filter((turn) => turn > 1).length;
const ms = (ns) => `${(ns / 1e6).toFixed(1)} ms`;
console.error(
  `${size} ranks, ${pmi}: ${events} events; the event loop comes round after ${ms(delays.percentile(50))} (median), ${ms(delays.percentile(99))} (99 %), ${ms(delays.max)} (most)`,
);
console.error(
  `processor time of the thread: ${(last - first).toFixed(0)} ms in ${turns.length} turns, at most ${Math.max(...turns).toFixed(1)} ms in one, more than 1 ms in ${long}`,
);
process.exitCode = exitCode;
