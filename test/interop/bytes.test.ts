// Bytes that are not UTF-8 reach the ranks unchanged from every source, or are refused.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { launch, libpmiPath, type Job } from '../../dist/index.js';
import { needs } from '../support/installed';
import { program } from '../support/programs';
import { root } from '../support/root';
import { run } from '../support/run';

vi.setConfig({ testTimeout: 60_000 });

/** An é in Latin-1, an é in UTF-8, and a surrogate, which UTF-8 does not permit. */
const B = "$'\\xe9\\xc3\\xa9\\xed\\xb3\\xa9'";
const bytes = [0xe9, 0xc3, 0xa9, 0xed, 0xb3, 0xa9];
const hex = (...values: number[]): string =>
  values.map((value) => value.toString(16).padStart(2, '0')).join(' ');
const text = (string: string): number[] => [...Buffer.from(string)];

const starts: [string, string[]][] = [
  ['wireup', [join(root, 'dist/wireup')]],
  ['node dist/cli.js', [process.execPath, join(root, 'dist/cli.js')]],
];

let folder: string;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), 'bytes-test-'))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.each(starts)('%s', (_, start) => {
  /** `$B` stands for the bytes, `"$@"` for the `wireup` command. */
  const shell = (script: string) =>
    run(['bash', '-c', script.replaceAll('$B', () => B), 'bash', ...start], { directory: folder });
  /** The output of a script, in hexadecimal. */
  async function outputBytes(script: string): Promise<string> {
    const { code, stdout, stderr } = await shell(`set -o pipefail; ${script} | od -An -v -tx1`);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    return stdout.trim().split(/\s+/).join(' ');
  }

  it.each([
    ['an argument', `"$@" run -n 1 printf %s $B`],
    [
      'the name of a program in the working directory',
      `printf '#!/bin/sh\\nprintf %%s "\${0#./}"\\n' >./$B; chmod +x ./$B; "$@" run -n 1 ./$B`,
    ],
    [
      'a folder in -path',
      `mkdir -p p$B; printf '#!/bin/sh\\nprintf %%s '$B >p$B/prog; chmod +x p$B/prog; "$@" run -path p$B -n 1 prog`,
    ],
    [
      'a folder in PATH',
      `mkdir -p p$B; printf '#!/bin/sh\\nprintf %%s '$B >p$B/prog; chmod +x p$B/prog; PATH=$PWD/p$B:$PATH "$@" run -n 1 prog`,
    ],
    ['-wdir', `mkdir -p w/$B; "$@" run -wdir w/$B -n 1 sh -c 'printf %s "\${PWD##*/}"'`],
    ['-genv', `"$@" run -genv X $B -n 1 sh -c 'printf %s "$X"'`],
    ['-env X=', `"$@" run -n 1 -env X=$B sh -c 'printf %s "$X"'`],
    ['an inherited variable', `X=$B "$@" run -n 1 sh -c 'printf %s "$X"'`],
    ['a variable of -genvlist', `X=$B "$@" run -genvlist X,PATH -n 1 sh -c 'printf %s "$X"'`],
    [
      'the name of an inherited variable',
      `env X$B=1 "$@" run -n 1 cat /proc/self/environ | tr '\\0' '\\n' | grep -a '^X.*=1$' | tr -d 'X=1\\n'`,
    ],
    ['a word of a -configfile', `printf '%s\\n' '-n 1 printf %s '$B >c$B; "$@" run -configfile c$B`],
    ['-outfile-pattern', `"$@" run -outfile-pattern o%r$B -n 1 true; printf %s o0* | tail -c +3`],
    ['-prepend-pattern', `"$@" run -prepend-pattern $B -n 1 echo | tr -d '\\n'`],
    ['--debugger', `"$@" run --debugger 'env X='$B -n 1 sh -c 'printf %s "$X"'`],
  ])('passes on the bytes of %s', async (_what, script) => {
    expect(await outputBytes(script)).toBe(hex(...bytes));
  });

  it.each([
    ['--result', `"$@" run --result $B -n 1 true`],
    ['--name-server', `"$@" run --name-server /tmp/$B -n 1 true`],
    ['-hosts', `"$@" run -hosts $B -n 1 true`],
    ['the name in -genv', `"$@" run -genv $B 1 -n 1 true`],
    ['the address of a server', `"$@" serve -n 1 --address unix:///tmp/$B`],
    ['an unknown option', `"$@" run --$B true`],
  ])('refuses the bytes in %s', async (_what, script) => {
    const { code, stderr } = await shell(script);
    expect({ code, stderr }).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^wireup: .*\n$/) as string,
    });
  });

  const compiler = needs('cc');
  it.skipIf(compiler.missing)(
    `passes on the bytes of the program, the arguments and the info of a spawn${compiler.note}`,
    async () => {
      const spawner = program('libpmi_spawn');
      const spawn = (info: string): string =>
        `mkdir -p w/$B; cp ${spawner} s$B; "$@" run -n 1 ./s$B ${libpmiPath} info ${info} | grep -a child | sort | head -n 1 | tr -d '\\n'`;
      const line = (where: number[], from: number[]): string =>
        hex(
          ...text('child 0 of 4, appnum 0, '),
          ...bytes,
          ...text(', in '),
          ...where,
          ...text(', FROM='),
          ...from,
        );
      expect(await outputBytes(spawn('env FROM=$B $B'))).toBe(line(text(folder), bytes));
      // The program is looked up in wdir.
      expect(await outputBytes(spawn('wdir w/$B $B').replace('; "$@"', '; cp s$B w/$B; "$@"'))).toBe(
        line([...text(`${folder}/w/`), ...bytes], []),
      );
    },
  );
});

describe('launch()', () => {
  const rank = async (options: Partial<Parameters<typeof launch>[0]>): Promise<Buffer> => {
    const job: Job = await launch({
      program: 'sh',
      ranks: 1,
      stdout: 'pipe-per-rank',
      ...options,
    });
    const chunks: Buffer[] = [];
    for await (const chunk of job.rankStdout![0]!) chunks.push(chunk as Buffer);
    expect((await job.result).exitCode).toBe(0);
    return Buffer.concat(chunks);
  };
  const latin = Uint8Array.from(bytes);

  it('accepts bytes', async () => {
    expect([...(await rank({ args: ['-c', 'printf %s "$0$X"', latin], setEnv: { X: latin } }))]).toEqual([
      ...bytes,
      ...bytes,
    ]);
    expect([
      ...(await rank({ args: ['-c', 'printf %s "$X"'], env: { X: latin, PATH: process.env['PATH'] } })),
    ]).toEqual(bytes);
  });

  it('inherits the named variables, and sets and removes others', async () => {
    process.env['BYTES_TEST'] = '1';
    const show = ['-c', 'echo "${BYTES_TEST-none} ${HOME-none} ${X-none}"'];
    expect(String(await rank({ args: show, inheritEnv: ['BYTES_TEST', 'PATH'], setEnv: { X: 'x' } }))).toBe(
      '1 none x\n',
    );
    expect(String(await rank({ args: show, setEnv: { BYTES_TEST: undefined } }))).toBe(
      `none ${process.env['HOME'] ?? 'none'} none\n`,
    );
    delete process.env['BYTES_TEST'];
  });

  it.each([
    [{ args: ['\udce9'] }, /args\[0\]: expected a string without lone surrogates/],
    [{ env: { X: 'a\ud800' } }, /env.X: expected a string without lone surrogates/],
    [{ setEnv: { '\udc80': '1' } }, /setEnv: expected a string without lone surrogates/],
    [{ cwd: '\udcff' }, /cwd: expected a string without lone surrogates/],
    [{ label: '\udce9' }, /label: expected a string without lone surrogates/],
    [{ stdout: { file: '\udce9' } }, /stdout.file: expected a string without lone surrogates/],
    [{ args: [Uint8Array.of(65, 0)] }, /args\[0\]: expected bytes without a NUL/],
    [{ env: {}, inheritEnv: ['A'] }, /inheritEnv: expected nothing beside env/],
    [{ fds: [2] }, /fds\[0\]: expected a whole number from 3/],
    [{ fds: [5, 5] }, /fds: expected up to 1024 numbers, each once/],
    [{ softFiles: 0 }, /softFiles: expected a whole number from 1/],
    [{ blockedSignals: [65] }, /blockedSignals\[0\]: expected a whole number from 1 to 64/],
  ])('refuses %j', async (options, message) => {
    await expect(rank(options as never)).rejects.toMatchObject({
      code: 'ERR_PMI_OPTION',
      message: expect.stringMatching(message) as string,
    });
  });
});
