// A process that launches a job, for launch.test.ts. Sends the pids of its agent and ranks to its parent and, at the
// parent's message, ends in the way that its argument names.
'use strict';
const { isMainThread, parentPort, Worker, workerData } = require('node:worker_threads');
const { launch } = require('../../dist/index.js');

const mode = isMainThread ? process.argv[2] : workerData;

async function start() {
  const job = await launch({
    program: 'sh',
    args: ['-c', 'tail -f /dev/null & exec tail -f /dev/null'],
    ranks: 2,
    stdout: 'ignore',
    stderr: 'ignore',
  });
  const pids = [job.agentPid];
  for await (const event of job.events()) {
    if (event.type === 'started' && pids.push(event.pid) === 3) break;
  }
  return pids;
}

async function inMainThread() {
  process.send(await start());
  await new Promise((resolve) => process.once('message', resolve));
  if (mode === 'exit') process.exit(7);
  if (mode === 'kill') process.kill(process.pid, 'SIGKILL');
  if (mode === 'throw') {
    process.on('uncaughtException', () => process.exit(1));
    throw new Error('the calling process fails');
  }
}

async function aroundWorker() {
  const worker = new Worker(__filename, { workerData: mode });
  worker.once('message', (pids) => process.send(pids));
  await new Promise((resolve) => process.once('message', resolve));
  if (mode === 'worker') worker.postMessage('end');
  else await worker.terminate();
  if (mode === 'worker') await new Promise((resolve) => worker.once('exit', resolve));
  process.disconnect();
}

async function inWorker() {
  parentPort.postMessage(await start());
  await new Promise((resolve) => parentPort.once('message', resolve));
  process.exit(0);
}

if (!isMainThread) void inWorker();
else if (mode.startsWith('worker')) void aroundWorker();
else void inMainThread();
