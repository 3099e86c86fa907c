// What it costs ranks that `wireup serve --metrics` is scraped once a second. Many clients in this process exchange cards
// again and again, in turns that are scraped and turns that are not. Prints the ratio of the turns' medians.
//
//   node test/bench/metrics.mjs [CLIENTS [PAIRS_OF_TURNS [SECONDS_A_TURN]]]
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { median } from 'simple-statistics';
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

/** Milliseconds of an exchange. */
async function turn(scraped) {
  let scrapes = 0;
  const timer = scraped ? setInterval(() => void scrape().then(() => scrapes++), 1000) : undefined;
  const begin = performance.now();
  let exchanges = 0;
  while (performance.now() - begin < seconds * 1000) {
    await exchange();
    exchanges++;
  }
  const time = (performance.now() - begin) / exchanges;
  clearInterval(timer);
  if (scraped && scrapes < seconds - 1) throw new Error(`only ${scrapes} scrapes`);
  return time;
}

await turn(false);
const ratios = [];
const times = { with: [], without: [] };
for (let i = 0; i < pairs; i++) {
  // The first of a pair changes, so that a drift of the machine's load falls on both.
  const first = await turn(i % 2 === 0);
  const second = await turn(i % 2 !== 0);
  const [scraped, not] = i % 2 === 0 ? [first, second] : [second, first];
  times.with.push(scraped);
  times.without.push(not);
  ratios.push(scraped / not);
}
console.log(
  `${count} clients, ${pairs} pairs of turns of ${seconds} s: an exchange took ${median(times.with).toFixed(1)} ms scraped, ` +
    `${median(times.without).toFixed(1)} ms not scraped; the median of the pairs' ratios is ${median(ratios).toFixed(3)}`,
);
await Promise.all(clients.map((pmi) => pmi.finalize()));
await ended;
rmSync(folder, { recursive: true });
