// The ranks of a job with few open files connect although silent connections of the same user take all free fds.

import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it, vi } from 'vitest';

import { needs, installed } from '../support/installed';
import { eventually } from '../support/processes';
import { program } from '../support/programs';
import { root } from '../support/root';
import { lines, Run, toolLines, wireupRun } from '../support/run';
import { HostileClient, targetOf, type Target } from '../support/hostile-clients';

vi.setConfig({ testTimeout: 120_000 });
const deadline = 100_000;

const ranks = 4;
const connections = 500;

const folder = mkdtempSync(join(tmpdir(), 'narrow-'));
afterAll(() => rmSync(folder, { recursive: true }));

const tools = needs('mpicc', 'prlimit');
describe.skipIf(tools.missing).each(['tcp', 'unix'] as const)(
  `${ranks} ranks of MPICH over --pmi %s${tools.note}`,
  (transport) => {
    const shim = transport === 'unix' ? [join(root, 'build/Release/wireup-exec')] : [];
    const options = transport === 'unix' ? ['--no-exec-shim'] : [];

    /** The address of a run's server, read from the environment of the ranks that wait at the gate. */
    async function targetFor(run: Run): Promise<Target> {
      let port: string | undefined;
      const look = (): boolean => {
        for (const { pid, name } of run.processes()) {
          if (name !== 'sh') continue;
          const variables = readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');
          port ??= variables.find((variable) => variable.startsWith('PMI_PORT='))?.slice('PMI_PORT='.length);
        }
        return port !== undefined;
      };
      expect(await eventually(look, 30_000), run.stderr).toBe(true);
      return targetOf(port!.includes('://') ? port! : `tcp://${port}`);
    }

    it.each([128, 512])(
      'start with a limit of %d open files, although refused connections come again',
      async (limit) => {
        for (let job = 0; job < 3; job++) {
          const gate = join(folder, `gate-${transport}-${limit}-${job}`);
          execFileSync('mkfifo', [gate], { timeout: deadline });
          const limited = [installed('prlimit'), `--nofile=${limit}:${limit}`];
          const run = new Run(
            [
              ...limited,
              ...wireupRun(
                ranks,
                transport,
                ...options,
                'sh',
                '-c',
                `: < ${gate}; exec "$0" "$@"`,
                ...shim,
                program('hello'),
              ),
            ],
            { deadline },
          );
          using crowd = new HostileClient({
            target: await targetFor(run),
            behaviour: 'reconnect',
            count: connections,
          });
          await crowd.ready;
          const opened = openSync(gate, 'r+');
          const result = await run.done.finally(() => closeSync(opened));
          expect(lines(result.stdout).sort()).toEqual(
            Array.from({ length: ranks }, (_, rank) => `hello: rank ${rank} of ${ranks} ok`),
          );
          expect(toolLines(result.stderr).filter((line) => !line.startsWith('wireup: refused '))).toEqual([]);
          expect(result.code).toBe(0);
        }
      },
    );
  },
);
