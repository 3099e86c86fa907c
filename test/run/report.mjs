// The steps of a test run: their output, and the counts that the last line reports.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
export const out = join(root, 'out');

/** The totals of all test runners. */
export const count = { passed: 0, failed: 0, skipped: 0 };

const started = performance.now();

/** The seconds since the start of the run. */
function clock() {
  return `${((performance.now() - started) / 1000).toFixed(0).padStart(4)} s`;
}

/**
 * Runs `work(command)`. The output of its commands is printed when the step has ended, so that steps can overlap. A
 * step that throws an error counts as one failure and does not stop the others. Returns whether the step succeeded.
 */
export async function step(title, work) {
  const texts = [];
  console.log(`${clock()}  started: ${title}`);
  let failure;
  try {
    await work((...words) => runCommand(texts, ...words));
  } catch (error) {
    failure = error;
    count.failed++;
  }
  const verdict = failure === undefined ? 'done' : 'FAILED';
  console.log(`\n${clock()}  == ${title}: ${verdict}`);
  process.stdout.write(texts.join(''));
  if (failure !== undefined) console.error(`wireup: ${failure.message}`);
  return failure === undefined;
}

/**
 * Runs a command in the checkout. Throws an error unless its exit code is 0, or `mayFail` is set; returns the exit
 * code. With `quiet` the output of a command that succeeds is dropped. `rewrite` changes the output before it is kept.
 */
async function runCommand(texts, file, args, { quiet = false, mayFail = false, env = {}, rewrite } = {}) {
  const child = spawn(file, args, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const own = [];
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text) => own.push(text));
  const [code, signal] = await once(child, 'close');
  if (!quiet || code !== 0) texts.push(rewrite === undefined ? own.join('') : rewrite(own.join('')));
  if (code !== 0 && !mayFail)
    throw new Error(`${file} ${args.join(' ')} failed (${signal ?? `exit code ${code}`})`);
  return code;
}
