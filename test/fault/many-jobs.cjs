// Launches many jobs in one process, for many-jobs.test.ts, as many with each ending. Prints the resources of the process
// after COUNT jobs, and after half as many more. Arguments: COUNT, HOSTS, raw_abort, raw_drop, raw_stage. With HOSTS of 0 the
// jobs have two ranks on this host, else one rank on each of so many pretended hosts. Needs --expose-gc.
'use strict';
const { deepEqual } = require('node:assert/strict');
const { readdirSync, readFileSync } = require('node:fs');
const { launch } = require('../../dist/index.js');

const [count, hostCount, rawAbort, rawDrop, rawStage] = process.argv.slice(2);
const hosts = Array.from({ length: Number(hostCount) }, (_, i) => `node${i}`);
const place = hosts.length === 0 ? { ranks: 2 } : { ranks: hosts.length, hosts, launcher: 'fork' };
const runForever = 'exec tail -f /dev/null';
/** Rank 1 runs a command, the others run forever. */
const one = (what) => ({
  program: 'sh',
  args: ['-c', `if [ $PMI_RANK = 1 ]; then ${what}; fi; ${runForever}`],
});
const all = { program: 'sh', args: ['-c', runForever] };

const endings = [
  { options: { program: 'true' }, reason: undefined, code: 0 },
  { options: one('exit 3'), reason: 'exit', code: 3 },
  { options: one('kill -KILL $$'), reason: 'signal', code: 137 },
  { options: { program: rawAbort, args: ['1', '9'] }, reason: 'abort', code: 9 },
  { options: { program: rawDrop, args: ['1'] }, reason: 'lost', code: 1 },
  {
    options: {
      program: 'sh',
      args: ['-c', 'if [ $PMI_RANK = 1 ]; then exit 0; fi; exec "$0" first-barrier', rawStage],
    },
    reason: 'early',
    code: 1,
  },
  { options: { program: '/no/such/program' }, reason: 'spawn', code: 127 },
  { options: { ...all, timeout: 30 }, reason: 'timeout', code: 124 },
  { options: all, act: (job) => void job.stop({ grace: 100 }), reason: undefined, code: 143 },
  { options: all, act: (job) => process.kill(job.agentPid, 'SIGKILL'), reason: 'agent', code: 1 },
];

/** Kills the agent of a host. */
async function loseHost(job) {
  for await (const { host, pid } of job.events({ types: ['host-started'] }))
    if (host === hosts[1]) process.kill(pid, 'SIGKILL');
}
if (hosts.length > 0) endings.push({ options: all, act: loseHost, reason: 'host', code: 1 });

async function runJob({ options, act, reason, code }) {
  const job = await launch({ ...place, stdout: 'ignore', stderr: 'ignore', ...options });
  const acted = act?.(job);
  const { failure, exitCode } = await job.result;
  await acted;
  deepEqual({ reason: failure?.reason, code: exitCode }, { reason, code });
}

/** Eight jobs at a time. With all at once the load would decide how they end. */
async function runJobs(count) {
  let next = 0;
  const worker = async () => {
    while (next < count) await runJob(endings[next++ % endings.length]);
  };
  await Promise.all(Array.from({ length: 8 }, worker));
}

function isChild(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === process.pid;
  } catch {
    return false;
  }
}

function resources() {
  global.gc();
  const status = readFileSync('/proc/self/status', 'utf8');
  return {
    fds: readdirSync('/proc/self/fd').length,
    threads: Number(/^Threads:\s*(\d+)$/m.exec(status)[1]),
    children: readdirSync('/proc').filter((name) => /^\d+$/.test(name) && isChild(name)).length,
    memory: Number(/^RssAnon:\s*(\d+) kB$/m.exec(status)[1]) * 1024,
  };
}

async function main() {
  // The memory of V8 and malloc grows to what these jobs need, and must not grow further.
  await runJobs(Number(count));
  const before = resources();
  await runJobs(Number(count) / 2);
  console.log(JSON.stringify({ before, after: resources() }));
}
void main();
