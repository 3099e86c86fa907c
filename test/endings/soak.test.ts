// Jobs over 16 pretended hosts, over byte streams and ZeroMQ in turn, in which processes are killed or stopped at random. Each
// job ends within its deadline, no rank gets a wrong value, the tool names what was hit, and nothing is left.
//
//   WIREUP_SOAK_SECONDS=3600 npx vitest run test/endings/soak.test.ts      for an hour
//   WIREUP_SOAK_SEED=7 WIREUP_SOAK_JOB=12 npx vitest run ...               job 12 of the seed 7 alone

import { expect, it, vi } from 'vitest';

import { planOf } from '../support/fault-plan';
import { ReachedHosts } from '../support/faulted-job';
import { needs } from '../support/installed';
import { long } from '../support/long';

const number = (name: string, otherwise: number): number => Number(process.env[name] ?? otherwise);

const seconds = number('WIREUP_SOAK_SECONDS', long ? 60 : 15);
/** The short form has the same jobs each time. */
const seed = number('WIREUP_SOAK_SEED', long ? Date.now() % 1_000_000 : 1);
const only = process.env['WIREUP_SOAK_JOB'];
/** After so many faults of wireup the rest would tell little. */
const mostFailures = 10;

vi.setConfig({ testTimeout: (seconds + 300) * 1000 });

const compiler = needs('cc');
it.skipIf(compiler.missing)(`jobs end whole, whatever is killed or stopped${compiler.note}`, async () => {
  console.log(`soak: ${seconds} s with WIREUP_SOAK_SEED=${seed}`);
  const end = performance.now() + seconds * 1000;
  await using hosts = await ReachedHosts.start();
  const failures: string[] = [];
  let job = only === undefined ? 0 : Number(only);
  do {
    const plan = planOf(seed, job++);
    const begin = performance.now();
    const failure = await hosts.run(plan).then(
      () => undefined,
      (error: unknown) => (error as Error).message,
    );
    const took = ((performance.now() - begin) / 1000).toFixed(1);
    console.log(`soak: ${failure === undefined ? 'ok' : 'FAILED'} after ${took} s: ${JSON.stringify(plan)}`);
    if (failure === undefined) continue;
    console.log(failure);
    failures.push(`${JSON.stringify(plan)}\n${failure}`);
  } while (only === undefined && performance.now() < end && failures.length < mostFailures);
  console.log(`soak: ${job} jobs, ${failures.length} failed, WIREUP_SOAK_SEED=${seed}`);
  expect(failures).toEqual([]);
});
