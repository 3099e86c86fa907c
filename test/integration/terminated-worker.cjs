// Terminates workers while events are queued for them, for server.test.ts.
'use strict';
const { once } = require('node:events');
const { setTimeout: sleep } = require('node:timers/promises');
const { isMainThread, parentPort, Worker } = require('node:worker_threads');
const { PmiClient, PmiServer } = require('../../dist/index.js');

async function terminateWorkers() {
  for (let i = 0; i < 10; i++) {
    const worker = new Worker(__filename);
    await once(worker, 'message');
    await sleep(10 + i);
    await worker.terminate();
  }
}

async function sendRequests() {
  const server = await PmiServer.listen({ size: 1, address: 'unix' });
  const client = await PmiClient.fromEnv({ env: server.env(0) });
  parentPort.postMessage('asking');
  for (;;) await Promise.all(Array.from({ length: 50 }, () => client.get('PMI_process_mapping')));
}

if (isMainThread) void terminateWorkers();
else void sendRequests();
