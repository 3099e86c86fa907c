/** The API reference (`npm run docs`) can be made: every public declaration has documentation, every link leads somewhere. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const root = join(__dirname, '../..');
/** vitest cannot interrupt what is run synchronously. */
const timeout = 50_000;

test('every public declaration is documented', () => {
  // typedoc.json makes an error of each warning.
  const { stdout, stderr, status } = spawnSync('npx', ['typedoc', '--emit', 'none'], {
    cwd: root,
    encoding: 'utf8',
    timeout,
  });
  expect({ status, output: stdout + stderr }).toMatchObject({ status: 0 });
});
