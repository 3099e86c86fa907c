/** The help of `wireup run`. It is in a file of its own because a run that needs no help does not load commander. */
import { Command } from 'commander';
import { addOptions, helpStyle, usageError } from './commander-options';
import { STATUS_SIGNAL } from './job-signals';
import { print } from './report';
import { runOptions } from './run-options';

/** The text below the options. */
export function helpBelow(name: string): string {
  return `
An option has one dash or two. Its value follows after a blank or "=". The options end at the program.
The variable WIREUP_OPTIONS and the file ~/.config/wireup/config, with one option in each line, give default options.

Exit codes:
  the code of the first rank that failed, or 128 + the number of the signal that killed it, or the code of its abort
  0    all ranks ended with 0
  1    any other failure, such as a rank that left without PMI finalize
  2    wrong use
  124  a time limit passed
  126  the program is not executable
  127  the program was not found
  130  a second ^C ended the job
  141  the reader of the output has gone

Ranks may spawn other ranks (MPI_Comm_spawn). These start as their parents did, in process groups of their own: group 1,
2, ... If a rank of a spawned group fails, the job fails: wireup ends all its groups, and the exit code is that of the
rank. If wireup cannot start a group, the rank that asked for it gets an error, and stderr the reason. The job ends when
all its groups have ended.

Rank 0 reads standard input. wireup passes the signals INT, TERM, HUP, QUIT, USR1, USR2, ALRM, WINCH, TSTP and CONT on to
the ranks. A second INT within two seconds ends the job, a third one kills it. With --pmi tcp, the variable
MPIEXEC_PORT_RANGE=LOW:HIGH limits the port.

The signal ${STATUS_SIGNAL} asks where the ranks are: after "kill -${STATUS_SIGNAL.slice(3)} PID" with the process id of wireup, it reports on stderr
which ranks never connected, which wait in a barrier, and which are missing from it.

An MPI program that was started without a launcher and spawns runs "mpiexec -pmi_args ...". To serve it, make a link
with the name mpiexec to mpiexec.wireup in a folder of PATH.

Examples:
  ${name} -n 4 ./a.out
  ${name} --hosts n1,n2:4 ./a.out
  ${name} -n 64 -l --pmi unix ./a.out --its-own-option
  ${name} -genv OMP_NUM_THREADS 2 -n 1 ./master : -n 3 ./worker
  ${name} -n 16 --startup-timeout 30 --result job.json ./a.out`;
}

/** The command as commander has it, for its help. It does not read the command line. */
export function makeRunCommand(name: string): Command {
  const command = new Command(name)
    .description('Starts programs as the ranks of one job, as mpiexec does.')
    .usage('[options] program [args...] [: [options] program [args...]]...')
    .exitOverride()
    .configureOutput({ outputError: usageError, writeOut: print })
    .configureHelp(helpStyle)
    .addHelpText('after', () => helpBelow(name));
  return addOptions(command, runOptions);
}

/** @param name how the command was called */
export function showRunHelp(name: string): void {
  makeRunCommand(name).outputHelp();
}

/** Reports an option that does not exist, with the most similar one. Throws commander's error. */
export function reportUnknown(name: string, option: string): void {
  makeRunCommand(name).parse([`--${option}`], { from: 'user' });
}
