/** The programs of examples/ work as described, with the built package. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { root } from '../support/root';
import { lines, run } from '../support/run';

const example = (name: string): string => join(root, 'examples', `${name}.mjs`);
const rank = [process.execPath, example('rank')];

let folder: string;
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'wireup-examples-'))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('launch.mjs prints the ending of each rank', async () => {
  const { code, stdout, stderr } = await run([
    process.execPath,
    example('launch'),
    '3',
    'sh',
    '-c',
    'if [ $PMI_RANK = 1 ]; then exit 3; fi; exec sleep 1000',
  ]);
  expect(code).toBe(3);
  expect(lines(stdout)).toEqual([
    expect.stringMatching(/^rank 0 \(pid \d+\) was killed by SIGTERM, because wireup ended the job$/),
    expect.stringMatching(/^rank 1 \(pid \d+\) exited with code 3$/),
    expect.stringMatching(/^rank 2 \(pid \d+\) was killed by SIGTERM, because wireup ended the job$/),
  ]);
  expect(stderr).toMatch(/^rank 1 \(pid \d+, sh\) on \S+ exited with code 3; 2 other ranks were ended\n$/);
});

test('four ranks of rank.mjs exchange business cards under launch.mjs', async () => {
  const { code, stdout, stderr } = await run([process.execPath, example('launch'), '4', ...rank]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  for (let number = 0; number < 4; number++)
    expect(lines(stdout)).toContain(`rank ${number} of 4 has 3 addresses`);
});

test('rank.mjs without a launcher is a process group of size 1', async () => {
  const { code, stdout } = await run(rank);
  expect({ code, stdout }).toEqual({ code: 0, stdout: 'rank 0 of 1 has 0 addresses\n' });
});

test.each(['unix', 'tcp'])(
  'serve.mjs over %s serves ranks that know only the files that it writes',
  async (transport) => {
    const server = spawn(process.execPath, [example('serve'), '2', transport, folder], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const output = createInterface({ input: server.stdout })[Symbol.asyncIterator]();
    try {
      expect((await output.next()).value).toMatch(/^serving 2 ranks at (unix|tcp):\/\//);
      const ends = [0, 1].map((number) => {
        const file = join(folder, `rank-${number}.env`);
        expect(statSync(file).mode & 0o777).toBe(0o600);
        const env = Object.fromEntries(
          readFileSync(file, 'utf8')
            .trimEnd()
            .split('\n')
            .map((line) => /^(\w+)=(.*)$/.exec(line)!.slice(1) as [string, string]),
        );
        return run(rank, { environment: env });
      });
      for (const [number, { code, stdout }] of (await Promise.all(ends)).entries())
        expect({ code, stdout }).toEqual({ code: 0, stdout: `rank ${number} of 2 has 1 addresses\n` });
      expect((await output.next()).value).toBe('all ranks have finalized');
      expect((await output.next()).done).toBe(true);
    } finally {
      server.kill();
    }
  },
);

test('events.mjs prints the events in order', async () => {
  const { code, stdout, stderr } = await run([process.execPath, example('events'), '2', ...rank]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const events = lines(stdout).filter((line) => !line.includes('addresses'));
  const times = events.slice(0, -1).map((line) => Number.parseFloat(line));
  expect(times).toEqual([...times].sort((a, b) => a - b));
  const texts = events.map((line) => line.replace(/^ *[\d.]+ /, '').replace(/\d+$/, 'N'));
  expect(texts.filter((line) => line.startsWith('rank 0'))).toEqual([
    'rank 0 runs as process N',
    'rank 0: initialized',
    'rank 0: finalized',
    'rank 0 ended with N',
  ]);
  expect(texts).toContain('all ranks have left barrier N');
  expect(events.at(-1)).toBe('exit code 0');
});

test('spawn.mjs starts the programs that a rank spawns', async () => {
  const program = join(folder, 'parent.mjs');
  writeFileSync(
    program,
    `import { PmiClient } from ${JSON.stringify(join(root, 'dist/index.mjs'))};
const pmi = await PmiClient.fromEnv();
if (pmi.spawned) console.log('rank ' + pmi.rank + ' of ' + pmi.size + ' has ' + (await pmi.get('parent')));
else {
  const child = { program: process.execPath, args: [process.argv[1]], ranks: 2 };
  console.log(await pmi.spawn([child], { preput: { parent: 'a-card' } }));
}
await pmi.finalize();
`,
  );
  const { code, stdout, stderr } = await run([process.execPath, example('spawn'), process.execPath, program]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const printed = lines(stdout);
  for (const line of [
    'rank 0 of 2 has a-card',
    'rank 1 of 2 has a-card',
    '{ errcodes: [ 0, 0 ] }',
    'group of 2: exit codes 0,0',
  ])
    expect(printed).toContain(line);
  expect(printed.at(-1)).toBe('group of 1: exit codes 0');
});
