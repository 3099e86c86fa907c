// Jobs whose hosts one srun starts, and whose links are over ZeroMQ. test/support/srun.sh stands in for srun, so the hosts are
// pretended.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { root } from './root';
import { lines, wireup } from './run';

export interface SrunJob {
  words: string[];
  environment: Record<string, string>;
  /** The pids of the sruns that have run, and the lists of their hosts. */
  sruns: () => { pid: number; hosts: string }[];
}

export interface SrunHosts {
  count: number;
  ranksPerHost: number;
  /** The hosts listen at the addresses of this interface. Default: `lo`. */
  iface?: string;
}

/** The interpreter executes it, so it is what SIGKILL reaches and what a message names. */
export const srunPath = join(root, 'test/support/srun.sh');

let logs = 0;

/**
 * A command line of `wireup run` on hosts m1, m2, ...
 *
 * @param folder for the files of srun, which remain if it is killed
 */
export function srunJob(
  folder: string,
  { count, ranksPerHost, iface = 'lo' }: SrunHosts,
  ...words: string[]
): SrunJob {
  const log = join(folder, `log-${++logs}`);
  const options = ['--launcher', 'slurm', '--launcher-exec', srunPath, '--iface', iface];
  return {
    words: wireup('run', ...options, '--hosts', `m[1-${count}]:${ranksPerHost}`, ...words),
    environment: { FAKE_SRUN_LOG: log, FAKE_SRUN_FOLDER: folder },
    sruns: () =>
      lines(readFileSync(log, 'utf8')).map((line) => {
        const [pid, hosts] = line.split(' ');
        return { pid: Number(pid), hosts: hosts! };
      }),
  };
}
