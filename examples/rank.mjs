// A rank: publishes an address, waits until all ranks have done so, and reads the addresses of the others.
//
//   wireup run -n 4 node rank.mjs       or under another PMI-1 launcher: mpiexec -n 4 node rank.mjs
import { createServer } from 'node:net';
import { PmiClient } from 'wireup';

// Without a launcher, this process is a process group of size 1.
const pmi = await PmiClient.fromEnv();

const listener = createServer().listen(0, '127.0.0.1');
await new Promise((resolve) => listener.once('listening', resolve));

// A put is visible to the other ranks after the next barrier.
await pmi.put(`address-${pmi.rank}`, `127.0.0.1:${listener.address().port}`);
await pmi.barrier({ timeout: 60_000 });

const others = Array.from({ length: pmi.size }, (_, rank) => rank).filter((rank) => rank !== pmi.rank);
const addresses = await pmi.getMany(others.map((rank) => `address-${rank}`));
console.log(`rank ${pmi.rank} of ${pmi.size} has ${addresses.length} addresses`);

listener.close();
// A rank that leaves without finalize() counts as lost.
await pmi.finalize();
