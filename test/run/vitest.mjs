// The TypeScript tests.
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { count, out } from './report.mjs';

/** Runs a project of vitest.config.mts. */
export async function vitest(project, env, command) {
  const report = join(out, `vitest-${project}.json`);
  rmSync(report, { force: true });
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const code = await command('npx', ['vitest', 'run', `--project=${project}`, ...reporters], {
    mayFail: true,
    env,
  });
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests } = JSON.parse(
    readFileSync(report, 'utf8'),
  );
  count.passed += numPassedTests;
  count.failed += numFailedTests;
  count.skipped += numPendingTests + numTodoTests;
  if (code !== 0 && numFailedTests === 0) throw new Error('vitest failed');
}
