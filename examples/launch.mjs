// Launches a program as the ranks of one job and prints how each rank ended.
//
//   node launch.mjs 4 ./a.out args...
import { describeFailure, launch } from 'wireup';

const [ranks = '4', program = './a.out', ...args] = process.argv.slice(2);

// `await job.result` also works after a failure: a failed job is a result, not an exception.
const job = await launch({ program, args, ranks: Number(ranks), timeout: 60_000 });
const result = await job.result;

for (const { rank, pid, code, signal, ended } of result.ranks) {
  const how = signal === undefined ? `exited with code ${code}` : `was killed by ${signal}`;
  console.log(`rank ${rank} (pid ${pid}) ${how}${ended ? ', because wireup ended the job' : ''}`);
}
if (result.failure !== undefined) console.error(describeFailure(result));
process.exitCode = result.exitCode;
