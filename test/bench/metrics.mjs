// What it costs ranks that `wireup serve --metrics` is scraped once a second. Many clients in this process exchange cards
// again and again, in turns that are scraped and turns that are not. Prints the median of the ratios of the pairs of turns:
// of the time, and of the processor time of clients and server, on which other load has less effect.
//
//   node test/bench/metrics.mjs [CLIENTS [PAIRS_OF_TURNS [SECONDS_A_TURN]]]
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { median, quantileSorted } from 'simple-statistics';
import { PmiClient } from '../../dist/index.mjs';

const [count, pairs, seconds] = [1024, 20, 3].map((fallback, i) => Number(process.argv[2 + i] ?? fallback));
const folder = mkdtempSync(join(tmpdir(), 'metrics-bench-'));
const socketPath = join(folder, 'metrics.sock');
const words = ['serve', '-n', `${count}`, '--address', 'unix', '--json', '--metrics', `unix://${socketPath}`];
const server = spawn(join(import.meta.dirname, '../../dist/wireup'), words, {
  stdio: ['ignore', 'pipe', 'inherit'],
});
const ended = once(server, 'exit');

async function readJson(stream) {
  let text = '';
  for await (const part of stream) {
    text += part;
    if (text.endsWith('}\n')) return JSON.parse(text);
  }
  throw new Error('the server ended');
}

async function scrape() {
  const [response] = await once(request({ socketPath, path: '/metrics' }).end(), 'response');
  let bytes = 0;
  for await (const part of response) bytes += part.length;
  return bytes;
}

const { ranks } = await readJson(server.stdout);
const clients = await Promise.all(ranks.map(({ env }) => PmiClient.fromEnv({ env, timeout: 0 })));
let round = 0;
async function exchange() {
  const key = `card-${round++ % 16}`;
  await Promise.all(
    clients.map(async (pmi) => {
      await pmi.put(`${key}-${pmi.rank}`, `of-${pmi.rank}`);
      await pmi.barrier();
      await pmi.get(`${key}-${(pmi.rank + 1) % count}`);
    }),
  );
}

/** Milliseconds of processor time of this process and of the server, which the kernel counts in ticks of 10 ms. */
function processorTime() {
  const { user, system } = process.cpuUsage();
  const fields = readFileSync(`/proc/${server.pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (user + system) / 1000 + 10 * (Number(fields[11]) + Number(fields[12]));
}

/** Milliseconds of an exchange: its time, and the processor time. */
async function turn(scraped) {
  let scrapes = 0;
  const timer = scraped ? setInterval(() => void scrape().then(() => scrapes++), 1000) : undefined;
  const begin = performance.now();
  const used = processorTime();
  let exchanges = 0;
  while (performance.now() - begin < seconds * 1000) {
    await exchange();
    exchanges++;
  }
  const time = (performance.now() - begin) / exchanges;
  const processor = (processorTime() - used) / exchanges;
  clearInterval(timer);
  if (scraped && scrapes < seconds - 1) throw new Error(`only ${scrapes} scrapes`);
  return { time, processor };
}

await turn(false);
const pairsOf = { time: [], processor: [] };
for (let i = 0; i < pairs; i++) {
  // The first of a pair changes, so that a drift of the machine's load falls on both.
  const first = await turn(i % 2 === 0);
  const second = await turn(i % 2 !== 0);
  const [scraped, not] = i % 2 === 0 ? [first, second] : [second, first];
  for (const [what, list] of Object.entries(pairsOf)) list.push([scraped[what], not[what]]);
}
console.log(`${count} clients, ${pairs} pairs of turns of ${seconds} s. An exchange takes`);
for (const [what, list] of Object.entries(pairsOf)) {
  const [scraped, not] = [0, 1].map((side) => median(list.map((pair) => pair[side])).toFixed(1));
  const ratios = list.map(([one, other]) => one / other).sort((a, b) => a - b);
  const [low, middle, high] = [0.25, 0.5, 0.75].map((part) => quantileSorted(ratios, part).toFixed(3));
  console.log(
    `${scraped} ms of ${what} scraped, ${not} ms not scraped; the median of the ratios is ${middle}, half of them are from ${low} to ${high}`,
  );
}
await Promise.all(clients.map((pmi) => pmi.finalize()));
await ended;
rmSync(folder, { recursive: true });
