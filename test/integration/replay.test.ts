/** `wireup replay` on the command line: which rank it replays, its exit codes, and files that are no recordings. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { recordingLine, type RecordingHeader, type TraceRecord } from '../../lib/trace/format';
import { run, wireup, wireupRun, type Result } from '../support/run';

const folder = mkdtempSync(join(tmpdir(), 'replay-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

const header: RecordingHeader = { wireupTrace: 1, start: 0, by: 'wireup tap' };
const HEAD = recordingLine(header);

function file(name: string, content: string | Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

/** A rank that asks for a key. */
function conversation(group: number, rank: number, value: string): string {
  const texts: TraceRecord[] = [];
  const add = (dir: 'C' | 'S', text: string): void => {
    texts.push({ t: 0, group, rank, dir, wire: '1', text });
  };
  add('C', 'cmd=init pmi_version=1 pmi_subversion=1');
  add('S', 'cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0');
  add('C', 'cmd=get_my_kvsname');
  add('S', 'cmd=my_kvsname kvsname=recorded');
  add('C', 'cmd=put kvsname=recorded key=k value=v');
  add('S', 'cmd=put_result rc=0 msg=success');
  add('C', 'cmd=get kvsname=recorded key=k');
  add('S', `cmd=get_result rc=0 msg=success value=${value}`);
  add('C', 'cmd=finalize');
  add('S', 'cmd=finalize_ack');
  return texts.map(recordingLine).join('');
}

const good = file('good.jsonl', HEAD + conversation(0, 0, 'v') + conversation(1, 3, 'v'));
const other = file('other.jsonl', HEAD + conversation(0, 0, 'w'));

const replay = (...words: string[]): Promise<Result> =>
  run(wireup('replay', ...words, '--', ...wireupRun(1, 'fd')));

test('answers as recorded: exit code 0', async () => {
  expect(await replay(good)).toMatchObject({ code: 0, stdout: '0: 5 answers, none differs\n', stderr: '' });
  expect(await run(wireupRun(1, 'tcp', ...wireup('replay', good)))).toMatchObject({
    code: 0,
    stdout: '0: 5 answers, none differs\n',
  });
});

test('another answer: exit code 1, and both answers are shown', async () => {
  const { code, stdout } = await replay(other);
  expect(code).toBe(1);
  expect(stdout).toMatch(
    /^0: answer 4 differs: cmd=get kvsname=wireup-\w+ key=k\n0: {3}recorded: cmd=get_result rc=0 msg=success value=w\n0: {3}received: cmd=get_result rc=0 msg=success value=v\n0: 5 answers, 1 difference\n$/,
  );
});

test('--rank chooses another rank, and -v prints all messages', async () => {
  const { code, stdout } = await replay('--rank', '1.3', '-v', good);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^1\.3: C: cmd=init .*\n1\.3: S: cmd=response_to_init/);
  expect(stdout).toMatch(/answer 2 differs, as it may/);
});

test.each<[string, string | Buffer, RegExp]>([
  ['nothing', '', /:1: the recording is empty$/m],
  ['text', 'hello\n', /:1: this is not a recording of wireup/],
  ['binary', Buffer.from([0, 0xff, 0xfe, 0x0a, 0]), /:1: this is not a recording of wireup/],
  ['a cut file', HEAD + '{"t":0,"gro', /:2: the recording ends in the middle of this line$/m],
  ['a huge line', HEAD + 'x'.repeat(9 << 20), /:2: a line of more than 8388608 bytes$/m],
  [
    'another rank',
    HEAD + conversation(0, 2, 'v'),
    /no messages of rank 0; there are those of 2 \(--rank\)$/m,
  ],
])('a file with %s: exit code 2', async (name, content, message) => {
  const { code, stderr } = await replay(file(`${name.replaceAll(' ', '-')}.jsonl`, content));
  expect(code).toBe(2);
  expect(stderr).toMatch(message);
});

test('no file, no server, wrong use', async () => {
  const { code, stderr } = await replay(join(folder, 'missing.jsonl'));
  expect([code, stderr]).toEqual([2, expect.stringMatching(/missing\.jsonl: no such file or directory\n/)]);
  const alone = await run(wireup('replay', good));
  expect(alone).toMatchObject({ code: 3, stdout: '' });
  expect(alone.stderr).toMatch(/^wireup: no PMI server: neither PMI_FD nor PMI_PORT is set; name a launcher/);
  const closed = await run(wireup('replay', good), {
    environment: { PMI_FD: '99', PMI_RANK: '0', PMI_SIZE: '1' },
  });
  expect(closed).toMatchObject({ code: 3, stderr: 'wireup: PMI_FD is 99, which is no open socket\n' });
  for (const words of [
    ['--', 'true'],
    [good, '--'],
    ['--rank', 'x', good],
  ])
    expect((await run(wireup('replay', ...words))).code).toBe(2);
});
