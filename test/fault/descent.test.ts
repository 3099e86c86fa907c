// The ranks of `wireup run --pmi unix` are the processes that it has started and their descendants. Any other process
// of the same user is refused, even with the right PMI_ID, and does not keep the rank from connecting.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, expect, it, vi } from 'vitest';

import { PmiClient } from '../../dist/index.js';
import { needs } from '../support/installed';
import { program } from '../support/programs';
import { lines, Run, wireupRun } from '../support/run';

vi.setConfig({ testTimeout: 60_000 });

const folder = mkdtempSync(join(tmpdir(), 'descent-'));
afterAll(() => rmSync(folder, { recursive: true }));

const compiler = needs('cc');
it.skipIf(compiler.missing)(`a process that the job has not started is refused${compiler.note}`, async () => {
  // The wrapper runs before wireup-exec, as a debugger does, so its environment still has the variables that
  // wireup-exec removes.
  const wrapper = join(folder, 'wrapper');
  writeFileSync(
    wrapper,
    `#!/bin/sh
    echo "$PMI_PORT $PMI_ID $$" > ${folder}/new && mv ${folder}/new ${folder}/rank
    echo waiting
    until [ -e ${folder}/go ]; do sleep 0.01; done
    # The rank is a child of the wrapper.
    "$@"
    exit $?`,
    { mode: 0o755 },
  );
  const job = new Run(
    wireupRun(2, 'unix', '--debugger', wrapper, '--debug-ranks', '1', program('raw_mapping')),
  );
  await job.until(({ stdout }) => stdout.includes('waiting\n'));
  const [address, id, pid] = readFileSync(join(folder, 'rank'), 'utf8').trim().split(' ');
  await expect(PmiClient.connect({ address: address!, id: id! })).rejects.toMatchObject({
    code: 'ERR_PMI_REFUSED',
  });
  writeFileSync(join(folder, 'go'), '');
  const { code, stdout, stderr } = await job.done;
  expect({ code, ranks: lines(stdout).filter((line) => line.startsWith('rank ')).length }).toEqual({
    code: 0,
    ranks: 2,
  });
  const refused = `wireup: refused a connection (uid ${process.getuid!()}, pid ${process.pid}): pid ${process.pid} `;
  expect(lines(stderr)).toHaveLength(1);
  expect(stderr.startsWith(refused), stderr).toBe(true);
  // The rank's process may connect before the agent has reported its start.
  expect(stderr.slice(refused.length)).toMatch(
    new RegExp(
      `^(is neither rank 1's process \\(pid ${pid}\\) nor a descendant of it|was not started by the agent \\(pid \\d+\\))\n$`,
    ),
  );
});
