/** The launchers that are measured: wireup, the floors, and other launchers that are installed. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { benchClientPath, benchPath } from '../../native.js';
import { transportNames } from '../../transports.js';
import type { Transport } from '../bench.js';

export interface Launcher {
  name: string;
  /** A failure of this launcher ends the figure. */
  essential?: boolean;
  /**
   * The names of the server's threads, of which the kernel keeps 15 letters. Absent if the server is a daemon of
   * another user.
   */
  server?: RegExp;
  /** Command lines that start `program` as N ranks. If there are several, they run in turn and their times are added. */
  commands: (program: readonly string[], ranks: number, pmi: Transport) => string[][];
  transports: readonly Transport[];
}

/** The command line of this `wireup` command. */
export const tool = [process.execPath, process.argv[1]!];

export const client = [benchClientPath];

export const echoFloor: Launcher = {
  name: 'floor',
  essential: true,
  server: /^wireup-bench$/,
  transports: ['fd', 'tcp', 'unix'],
  commands: (program, ranks, pmi) => [[benchPath, 'echo', pmi, `${ranks}`, ...program]],
};

/** The minimum for a launcher on Node: starting Node, then starting the programs. */
export const startFloor: Launcher = {
  name: 'floor',
  essential: true,
  server: /^wireup-bench$/,
  transports: ['fd'],
  commands: (program, ranks) => [
    [process.execPath, '-e', '0'],
    [benchPath, 'start', `${ranks}`, ...program],
  ],
};

export const wireup: Launcher = {
  name: 'wireup',
  essential: true,
  // In a job it is the agent. (`wireup serve` has no agent.)
  server: /^wireup-(agent|reactor)$/,
  transports: transportNames,
  commands: (program, ranks, pmi) => [
    [
      ...tool,
      'run',
      '--no-defaults',
      '--progress',
      'none',
      '--pmi',
      pmi,
      '--no-exec-shim',
      '-n',
      `${ranks}`,
      ...program,
    ],
  ],
};

const peers: Launcher[] = [
  {
    name: 'mpiexec.hydra',
    server: /^(mpiexec|hydra_pmi_proxy)/,
    transports: ['fd', 'tcp'],
    commands: (program, ranks, pmi) => [
      ['mpiexec.hydra', ...(pmi === 'tcp' ? ['-pmi-port'] : []), '-n', `${ranks}`, ...program],
    ],
  },
  {
    // Slurm's PMI-2 plugin serves PMI-1 too.
    name: 'srun',
    transports: ['fd'],
    commands: (program, ranks) => [['srun', '--mpi=pmi2', '--overcommit', '-n', `${ranks}`, ...program]],
  },
  {
    name: 'flux',
    transports: ['fd'],
    commands: (program, ranks) => [['flux', 'run', '-n', `${ranks}`, ...program]],
  },
];

function isInPath(name: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

export function findPeers(): Launcher[] {
  return peers.filter(({ name }) => isInPath(name));
}
