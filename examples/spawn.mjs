// A launcher of your own that answers MPI_Comm_spawn (PMI's spawn): each spawn gets a server of its own.
//
//   node spawn.mjs ./a.out args...
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { PmiServer, scrubEnvironment } from 'wireup';

const [program = './a.out', ...args] = process.argv.slice(2);

/** Starts one rank, which inherits its connection to the server as fd 3. */
function startRank(server, rank, command, words) {
  const channel = server.channel(rank);
  const child = spawn(command, words, {
    env: { ...scrubEnvironment(process.env), ...server.env(rank, { fd: 3 }) },
    stdio: ['ignore', 'inherit', 'inherit', channel.fd],
  });
  // The server sees the end of the rank only when no other process has the channel.
  channel.close();
  return child;
}

/** Serves a group of ranks until all of them have exited. `commands`: `{ program, args, ranks }` each. */
async function runGroup(commands, options = {}, onStarted = () => {}) {
  const size = commands.reduce((sum, { ranks }) => sum + ranks, 0);
  const server = await PmiServer.listen({ size, ...options });
  const spawned = answerSpawns(server);
  const ranks = commands.flatMap((command) => Array(command.ranks).fill(command));
  const exits = ranks.map((command, rank) =>
    once(startRank(server, rank, command.program, command.args), 'exit'),
  );
  onStarted(server.kvsname);
  const codes = (await Promise.all(exits)).map(([code]) => code);
  await server.close();
  await spawned;
  console.log(`group of ${size}: exit codes ${codes}`);
}

/** Answers each spawn that a rank of this server asks for; ends when the server is closed. */
async function answerSpawns(server) {
  const groups = [];
  for await (const event of server.events({ types: ['spawn'] })) {
    if (event.type !== 'spawn') continue;
    const { commands, preput, accept, reject } = event;
    const group = runGroup(commands, { preput, spawner: server.kvsname }, (kvsname) => accept({ kvsname }));
    groups.push(group.catch((error) => reject(-1, error.message)));
  }
  await Promise.all(groups);
}

await runGroup([{ program, args, ranks: 1 }]);
