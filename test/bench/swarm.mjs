// Many clients in one process with one server in another. Each puts a business card, waits in a barrier, and gets the
// card of the next rank. Prints the times and the memory of a client.
//
//   node test/bench/swarm.mjs [CLIENTS [ADDRESS]]
import { PmiClient } from '../../dist/index.mjs';
import { withServer } from './with-server.mjs';

const count = Number(process.argv[2] ?? 10_000);
const address = process.argv[3] ?? 'unix';
const residentMemory = () => {
  globalThis.gc?.();
  return process.memoryUsage.rss();
};

await withServer(count, address, async (environments) => {
  const before = residentMemory();
  const begin = performance.now();
  const clients = await Promise.all(environments.map((env) => PmiClient.fromEnv({ env, timeout: 0 })));
  const connected = performance.now();
  const after = residentMemory();
  const cards = await Promise.all(
    clients.map(async (pmi) => {
      await pmi.put(`card-${pmi.rank}`, `of-${pmi.rank}`);
      await pmi.barrier();
      return pmi.get(`card-${(pmi.rank + 1) % pmi.size}`);
    }),
  );
  const wrong = cards.findIndex((card, rank) => card !== `of-${(rank + 1) % count}`);
  if (wrong !== -1) throw new Error(`rank ${wrong} got ${cards[wrong]}`);
  const exchanged = performance.now();
  await Promise.all(clients.map((pmi) => pmi.finalize()));
  console.log(
    `${count} clients over ${address}: connected in ${(connected - begin).toFixed(0)} ms, ` +
      `exchanged in ${(exchanged - connected).toFixed(0)} ms, ${((after - before) / count / 1024).toFixed(1)} KiB a client`,
  );
});
