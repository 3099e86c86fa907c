// The effect of pipelining: KEYS gets one by one, and by getMany(), on one connection to a server in another process.
//
//   node test/bench/get-many.mjs [KEYS [ROUNDS]]
import { PmiClient } from '../../dist/index.mjs';
import { withServer } from './with-server.mjs';

const keys = Array.from({ length: Number(process.argv[2] ?? 1000) }, (_, i) => `key-${i}`);
const rounds = Number(process.argv[3] ?? 5);

async function timed(work) {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

for (const address of ['unix', 'tcp']) {
  await withServer(1, address, async ([env]) => {
    const pmi = await PmiClient.fromEnv({ env });
    await pmi.putMany(keys.map((key) => [key, `the value of ${key}`]));
    const single = [];
    const many = [];
    for (let round = 0; round < rounds; round++) {
      single.push(
        await timed(async () => {
          for (const key of keys) await pmi.get(key);
        }),
      );
      many.push(await timed(() => pmi.getMany(keys)));
    }
    await pmi.finalize();
    const [one, all] = [median(single), median(many)];
    console.log(
      `${address}: ${keys.length} keys: one by one ${one.toFixed(1)} ms, getMany ${all.toFixed(1)} ms: ` +
        `${(one / all).toFixed(1)} times as fast (medians of ${rounds})`,
    );
  });
}
