/**
 * Makes the commands that start wireup-agent on other hosts. The stdin and stdout of such a command become the link to that
 * agent, so nothing else may read or write them, and every byte must pass unchanged and at once.
 */
import type { HostLauncher } from './launchers';
import { stagedAgentWords } from './staged-agent';

/** Where a command starts the agent, and how. */
export interface HostCommandOptions {
  readonly launcher: HostLauncher;
  /** The path of wireup-agent on the host, or its name if the host searches it in PATH. */
  readonly agent: string;
  /** The command begins with reading the agent's program from its stdin. It then contains `%s` for the size in bytes. */
  readonly stage: boolean;
}

const sshOptions = [
  // No X11, and no terminal: both would change what passes.
  '-x',
  '-T',
  // A prompt would wait for ever.
  ...['-o', 'BatchMode=yes'],
  // A shared connection that is there is used. One that began here would end with the job, and take the user's others along.
  ...['-o', 'ControlMaster=no'],
  // The user's forwarded ports are taken by the first of several connections.
  ...['-o', 'ClearAllForwardings=yes'],
  // Errors, but no banner of each host.
  ...['-o', 'LogLevel=ERROR'],
];

const srunOptions = [
  '--mpi=none',
  '--cpu-bind=none',
  // Otherwise slurmstepd keeps the output until a line ends.
  '--unbuffered',
];

/**
 * Variables for the command. srun reads them as options: those that are undefined would change what passes, or how much of the
 * host the agent may use. SLURM_OVERLAP lets the agent's step share the host with other steps. Versions of Slurm in which steps
 * always share do not know the option, but ignore the variable.
 */
export const launcherVariables: Readonly<
  Record<HostLauncher['kind'], Readonly<Record<string, string | undefined>>>
> = {
  ssh: {},
  fork: {},
  exec: {},
  slurm: {
    SLURM_OVERLAP: '1',
    SLURM_EXACT: undefined,
    SLURM_EXCLUSIVE: undefined,
    SLURM_CPUS_PER_TASK: undefined,
    SRUN_CPUS_PER_TASK: undefined,
    SLURM_NTASKS_PER_NODE: undefined,
    SLURM_LABELIO: undefined,
    SLURM_STDINMODE: undefined,
    SLURM_STDOUTMODE: undefined,
    SLURM_STDERRMODE: undefined,
    // sbatch and salloc set these for the tasks of a job. They count GPUs by tasks, and an agent is one task for all ranks of its
    // host; srun also refuses some of them beside --ntasks-per-node.
    SLURM_NTASKS_PER_GPU: undefined,
    SLURM_NTASKS_PER_TRES: undefined,
    SLURM_TRES_PER_TASK: undefined,
    SLURM_GPUS: undefined,
    SLURM_GPUS_PER_TASK: undefined,
    SLURM_GPUS_PER_SOCKET: undefined,
    SLURM_GPU_BIND: undefined,
    SLURM_CPUS_PER_GPU: undefined,
    SLURM_MEM_PER_GPU: undefined,
    // `sbatch --export=NONE` sets the first. The agent finds libzmq, debuggers and TMPDIR by its environment; ranks get theirs
    // from the launcher.
    SLURM_EXPORT_ENV: undefined,
    SRUN_EXPORT_ENV: undefined,
  },
};

/**
 * Quotes a word for sh, csh and fish alike. In single quotes most characters stand for themselves in all of them. The
 * exceptions are quoted by a backslash, outside of the quotes.
 */
export function quoteForShells(word: string): string {
  if (/^[\w@%+=:,./-]+$/.test(word)) return word;
  if (word === '') return "''";
  return word
    .split(/(['\\!])/)
    .map((part, i) => (i % 2 === 1 ? `\\${part}` : part === '' ? '' : `'${part}'`))
    .join('');
}

/** The words of a list of hosts, as short as srun reads them: n[1-64]. */
export function shortHostList(names: readonly string[]): string {
  const runs: { prefix: string; first: string; last: string }[] = [];
  for (const name of names) {
    const [, prefix, digits] = /^(.*?)(\d{0,9})$/s.exec(name)!;
    const run = runs.at(-1);
    if (
      digits !== '' &&
      run !== undefined &&
      run.prefix === prefix &&
      run.last.length === digits!.length &&
      Number(run.last) + 1 === Number(digits)
    )
      run.last = digits!;
    else runs.push({ prefix: prefix!, first: digits!, last: digits! });
  }
  return runs
    .map(({ prefix, first, last }) => prefix + (first === last ? first : `[${first}-${last}]`))
    .join(',');
}

/** The words of the srun that starts the agents of all these hosts. Its stdin reaches each of them. */
export function togetherCommand(
  names: readonly string[],
  { words: [program, ...options] }: HostLauncher,
  agent: string,
): string[] {
  const count = String(names.length);
  return [
    program!,
    ...['-N', count, '-n', count, '--ntasks-per-node=1', '-w', shortHostList(names)],
    // One agent that fails does not end the others: the launcher decides.
    '--kill-on-bad-exit=0',
    ...srunOptions,
    ...options,
    agent,
    'join',
  ];
}

/** The words of the command that starts the agent of a host. */
export function hostCommand(
  { name, user }: { name: string; user?: string },
  { launcher: { kind, words }, agent, stage }: HostCommandOptions,
): string[] {
  const start = stage ? stagedAgentWords() : [agent, 'link'];
  switch (kind) {
    case 'fork':
      return [...start, 'same-host'];
    case 'ssh': {
      // ssh passes its words to the user's login shell, joined with blanks. The first of ssh's options of one name counts.
      const remote = ['exec', ...start.map(quoteForShells)].join(' ');
      return [...words, ...sshOptions, ...(user === undefined ? [] : ['-l', user]), name, remote];
    }
    case 'slurm': {
      // The last of srun's options of one name counts.
      const [program, ...options] = words;
      return [program!, '-N1', '-n1', '-w', name, ...srunOptions, ...options, ...start];
    }
    case 'exec': {
      const command = words.map((word) => word.replaceAll('{host}', () => name));
      return [...command, ...(words.some((word) => word.includes('{host}')) ? [] : [name]), ...start];
    }
  }
}
