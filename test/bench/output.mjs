// The throughput of the ranks' output under `wireup run` and MPICH's mpiexec, in turn, with labels and without. The
// time is that of the whole run, including the start of the launcher. With labels there are a tenth of the lines,
// because mpiexec writes each line separately.
//
//   node test/bench/output.mjs [RANKS [LINES [ROUNDS]]]
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const [ranks = 16, allLines = 3_000_000, rounds = 5] = process.argv.slice(2).map(Number);
const cli = join(dirname(fileURLToPath(import.meta.url)), '../../dist/cli.js');
const launchers = {
  mpiexec: ['mpiexec.mpich'],
  'wireup run': [process.execPath, cli, 'run'],
};

/** Bytes a second over the whole run of the launcher. */
async function measure(launcher, label, lines) {
  const [command, ...front] = launchers[launcher];
  const begin = performance.now();
  const child = spawn(command, [...front, ...label, '-n', `${ranks}`, 'seq', '1', `${lines}`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let bytes = 0;
  child.stdout.on('data', (chunk) => (bytes += chunk.length));
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`${launcher} ended with code ${code}`);
  return bytes / ((performance.now() - begin) / 1000);
}

const median = (values) => values.slice().sort((x, y) => x - y)[Math.floor(values.length / 2)];

for (const [label, lines] of [
  [[], allLines],
  [['-l'], allLines / 10],
]) {
  const figures = Object.fromEntries(Object.keys(launchers).map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const name of Object.keys(launchers)) figures[name].push(await measure(name, label, lines));
  }
  const [theirs, ours] = [median(figures.mpiexec), median(figures['wireup run'])];
  const text = (value) => `${(value / 1e6).toFixed(1)} MB/s`;
  console.log(
    `${ranks} ranks, ${lines} lines each${label.length > 0 ? ', labelled' : ''}: mpiexec ${text(theirs)}, wireup run ${text(ours)}, ${(ours / theirs).toFixed(2)} times as fast (medians of ${rounds})`,
  );
}
