/** typedoc can build the API reference (`npm run docs`). */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const root = join(__dirname, '../..');
/** In milliseconds. vitest cannot interrupt a synchronous call. */
const timeout = 50_000;

test('every public declaration is documented, and every link in the documentation resolves', () => {
  // typedoc.json turns each warning into an error.
  const { stdout, stderr, status } = spawnSync('npx', ['typedoc', '--emit', 'none'], {
    cwd: root,
    encoding: 'utf8',
    timeout,
  });
  expect({ status, output: stdout + stderr }).toMatchObject({ status: 0 });
});
