// Serves PMI to ranks that something else starts: a container runtime, a batch system, another terminal.
//
//   node serve.mjs 2 unix folder        then, for each rank:
//   podman run --env-file folder/rank-0.env ... wireup-exec ./a.out
//
// Each file has the environment of one rank. PMI_ID in it is the rank's secret, so only this user may read the file, and
// PMI_ID never stands on a command line.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeStatus, PmiServer } from 'wireup';

const [ranks = '2', address = 'unix', folder = '.'] = process.argv.slice(2);
const size = Number(ranks);

// `ranksPerNode: 1` is for containers that have a /dev/shm each: ranks of one node would share memory.
const server = await PmiServer.listen({ size, address, ranksPerNode: 1 });
const events = server.events({ types: ['finalized', 'disconnected', 'aborted', 'rejected'] });

for (let rank = 0; rank < size; rank++) {
  const lines = Object.entries(server.env(rank)).map(([name, value]) => `${name}=${value}\n`);
  writeFileSync(join(folder, `rank-${rank}.env`), lines.join(''), { mode: 0o600 });
}
console.log(`serving ${size} ranks at ${server.address}`);

let left = size;
for await (const event of events) {
  if (event.type === 'rejected') console.log(`refused ${event.peer.address}: ${event.reason}`);
  else if (event.type === 'aborted') {
    console.log(`rank ${event.rank} aborted with code ${event.exitCode}: ${event.message}`);
    process.exitCode = event.exitCode;
    break;
  } else if (event.type === 'disconnected' && event.lost) {
    console.log(`rank ${event.rank} was lost; ${describeStatus(await server.status())}`);
    process.exitCode = 1;
    break;
  } else if (event.type === 'finalized' && --left === 0) break;
}
if (left === 0) console.log('all ranks have finalized');
await server.close();
