// Launches a program and prints what happens, with the time in milliseconds since the launch.
//
//   node events.mjs 4 ./a.out args...
import { launch } from 'wireup';

const [ranks = '4', program = './a.out', ...args] = process.argv.slice(2);
const job = await launch({ program, args, ranks: Number(ranks) });

// A reader that asks for events right after launch() resolves gets all of them from the start.
const types = ['started', 'initialized', 'barrier', 'finalized', 'exited', 'aborted', 'stuck'];
for await (const event of job.events({ types })) {
  const time = event.type === 'missed' ? '' : event.time.toFixed(1).padStart(8);
  switch (event.type) {
    case 'started':
      console.log(`${time} rank ${event.rank} runs as process ${event.pid}`);
      break;
    case 'barrier':
      console.log(`${time} all ranks have left barrier ${event.number}`);
      break;
    case 'exited':
      console.log(`${time} rank ${event.rank} ended with ${event.signal ?? event.code}`);
      break;
    case 'stuck':
      console.log(`${time} barrier ${event.number} waits for rank ${event.rank}, which has left`);
      break;
    case 'missed':
      console.log(`this program was too slow for ${event.count} events of type ${event.of}`);
      break;
    default:
      console.log(`${time} rank ${event.rank}: ${event.type}`);
  }
}
const result = await job.result;
console.log(`exit code ${result.exitCode}`);
process.exitCode = result.exitCode;
