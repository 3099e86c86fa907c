// The steps of `npm run lint`.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { clangTidy } from './clang-tidy.mjs';
import { count, root, step } from './report.mjs';

/** Lists of commits show this many characters of a subject. */
const maxSubject = 72;
/** Earlier commits are not changed any more. */
const newestCommits = 20;

/** @param missing Debian packages without which a step is skipped */
export async function lint(thorough, missing) {
  // clang-tidy takes as long as the others, and each of them computes on one processor.
  await Promise.all([tidy(thorough, missing), others(missing)]);
}

async function tidy(thorough, missing) {
  if (missing.includes('clang-tidy')) count.skipped++;
  else await step('clang-tidy', (command) => clangTidy(thorough, command));
}

async function others(missing) {
  if (missing.includes('clang-format')) count.skipped++;
  else await step('format', (command) => format(false, command));
  await step('eslint', (command) => command('npx', ['eslint', '.']));
  await step('spelling', (command) => command('npx', ['cspell', 'lint', '--no-progress', '--quiet', '.']));
  await step('subjects of commits', checkSubjects);
}

/** Checks the format of all source files, or formats them in place. */
export async function format(write, command) {
  const files = ['native', 'test'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true })
      .filter((file) => /\.(c|cpp|h)$/.test(file))
      .map((file) => join(folder, file)),
  );
  await command('clang-format', [...(write ? ['-i'] : ['--dry-run', '-Werror']), ...files]);
  await command('npx', ['prettier', write ? '--write' : '--check', '--log-level=warn', '.']);
}

/** Without a git repository, as in a package of the sources, there is nothing to check. */
function checkSubjects() {
  if (!existsSync(join(root, '.git'))) return;
  const log = ['log', `--max-count=${newestCommits}`, '--no-merges', '--format=%h %s'];
  const { status, stdout } = spawnSync('git', log, { cwd: root, encoding: 'utf8' });
  // Git is not installed, or refuses a repository of another user.
  if (status !== 0) return;
  const long = stdout.split('\n').filter((line) => line.slice(line.indexOf(' ') + 1).length > maxSubject);
  if (long.length > 0) throw new Error(`subjects of more than ${maxSubject} characters:\n${long.join('\n')}`);
}
