// The cost of a flood of connections of the same user for a job: the time of 64 ranks of MPICH from their start to the
// end of their first barrier, in quiet, beside CONNECTIONS idle connections, and while as many connections come and go.
// The three are measured in turn. Needs mpicc (Debian's libmpich-dev), and two fds for each rank and connection
// together.
//
//   node test/bench/flood.mjs [ROUNDS [RANKS [CONNECTIONS]]]
import { execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { launch } from '../../dist/index.mjs';

const rounds = Number(process.argv[2] ?? 5);
const ranks = Number(process.argv[3] ?? 64);
const connections = Number(process.argv[4] ?? 10_000);
/** Connections of one process, because of the limit on open files. */
const perProcess = 1000;

/**
 * The flooding processes: `node flood.mjs --flood idle|come-and-go PORT COUNT`. Idle ones send a message once
 * connected.
 */
async function flood(manner, port, count) {
  process.once('disconnect', () => process.exit());
  const open = () => {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    return once(socket, 'connect').then(
      () => socket,
      () => undefined,
    );
  };
  if (manner === 'idle') {
    for (let i = 0; i < count; i++) await open();
    process.send('connected');
  } else {
    for (let i = 0; i < count; i++) (await open())?.destroy();
  }
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

/** Milliseconds from the opening of the gate to the end of the first barrier. */
async function wireUp(program, folder, manner) {
  const gate = join(folder, 'gate');
  execFileSync('mkfifo', [gate]);
  const job = await launch({
    program: 'sh',
    args: ['-c', `: < ${gate}; exec "$0"`, program],
    ranks,
    pmi: 'tcp',
    stdout: 'ignore',
    stderr: 'ignore',
  });
  const events = job.events();
  const [pid] = await job.started;
  const port = /PMI_PORT=127\.0\.0\.1:(\d+)/.exec(readFileSync(`/proc/${pid}/environ`, 'latin1'))[1];
  const floods =
    manner === 'quiet'
      ? []
      : Array.from({ length: Math.ceil(connections / perProcess) }, () =>
          fork(import.meta.filename, ['--flood', manner, port, String(perProcess)]),
        );
  if (manner === 'idle') await Promise.all(floods.map((one) => once(one, 'message')));
  const begin = performance.now();
  // O_RDWR, so that opening the fifo does not wait for a reader.
  const opened = openSync(gate, 'r+');
  let time;
  for await (const event of events)
    if (event.type === 'barrier' && event.number === 0) time = performance.now() - begin;
  const { exitCode, failure } = await job.result;
  closeSync(opened);
  rmSync(gate);
  for (const one of floods) if (one.connected) one.disconnect();
  await Promise.all(floods.map(async (one) => one.exitCode ?? (await once(one, 'exit'))));
  if (exitCode !== 0) throw new Error(`the job ended with ${exitCode}: ${JSON.stringify(failure)}`);
  return time;
}

if (process.argv[2] === '--flood') {
  await flood(process.argv[3], Number(process.argv[4]), Number(process.argv[5]));
} else {
  const folder = mkdtempSync(join(tmpdir(), 'flood-bench-'));
  try {
    const program = join(folder, 'hello');
    execFileSync('mpicc', ['-o', program, join(import.meta.dirname, '../support/programs/hello.c')]);
    const times = { quiet: [], idle: [], 'come-and-go': [] };
    for (let round = 0; round < rounds; round++) {
      for (const manner of Object.keys(times)) times[manner].push(await wireUp(program, folder, manner));
    }
    const quiet = median(times.quiet);
    console.log(`${ranks} ranks of MPICH over TCP, ${connections} connections, medians of ${rounds}:`);
    for (const [manner, all] of Object.entries(times)) {
      const time = median(all);
      console.log(
        `${manner.padEnd(12)}${time.toFixed(0).padStart(6)} ms, ${(time / quiet).toFixed(2)} times the quiet time`,
      );
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}
