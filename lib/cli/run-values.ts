/** How the values of the options of `wireup run` are read (run-options.ts). Each function throws InvalidValue. */
import type { OutputTarget } from '../index';
import { launcherKinds, type HostLauncher } from '../launchers';
import { MAX_TIME_LIMIT } from '../limits';
import { isWellFormed } from '../options';
import { softCount } from '../soft';
import { idset, InvalidValue, listOf, words, type OptionVariable } from './option';
import { toBytes } from './start';

/** Adds `NAME=VALUE` to those that came before. */
export function addPair(text: string, before: Record<string, string> = {}): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidValue('expected the name of a variable and its value');
  if (!isWellFormed(text.slice(0, at))) throw new InvalidValue('expected a name in UTF-8');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

/** Checks MPI's -soft. */
export function softCounts(text: string): string {
  if (softCount(text, 0) === undefined) throw new InvalidValue('expected counts such as 2, 1:4 or 1:8:2');
  return text;
}

/** Reads `none`, `hwthread`, `core`, `socket`, or `user:0,1+2,3-5`: the CPUs of each rank in turn. */
export function bindTo(text: string): 'none' | 'hwthread' | 'core' | 'socket' | number[][] {
  if (text === 'none' || text === 'hwthread' || text === 'core' || text === 'socket') return text;
  const list = /^(?:user|list):(.+)$/.exec(text)?.[1];
  if (list === undefined)
    throw new InvalidValue(
      'expected none, hwthread, core, socket, or user:CPU[+CPU...],... with the CPUs of each rank',
    );
  try {
    return list.split(',').map((set) => set.split('+').flatMap(idset));
  } catch {
    throw new InvalidValue('expected the CPUs of each rank, such as user:0,1+2,3-5');
  }
}

/** Reads the ranks that get stdin. */
export function stdinOf(text: string): 'all' | 'none' | number[] {
  return text === 'all' || text === 'none' ? text : idset(text);
}

/** The commands of resource managers that start a program on a host, by their names in Hydra's -launcher. */
export const managerCommands = { lsf: ['blaunch'], sge: ['qrsh', '-inherit'] } as const;

type LauncherName = HostLauncher['kind'] | keyof typeof managerCommands;

/** The values of --launcher. */
export const launcherNames = [
  ...launcherKinds,
  ...(Object.keys(managerCommands) as (keyof typeof managerCommands)[]),
];

/** Reads the name of a launcher. `local` is Hydra's word for `fork`. */
export function launcher(text: string): LauncherName {
  if (text === 'local') return 'fork';
  const kind = launcherNames.find((known) => known === text);
  if (kind === undefined)
    throw new InvalidValue(
      `expected ${listOf(launcherNames)}; other commands that run a program on a host work as --launcher exec --launcher-exec '${text} ...'`,
    );
  return kind;
}

/** Read only if other hosts are named: users of Hydra may have set a launcher that wireup does not have. */
export const launcherVariable = {
  names: ['HYDRA_LAUNCHER', 'HYDRA_BOOTSTRAP'],
  read: launcher,
  late: true,
} as const satisfies OptionVariable<LauncherName>;

/** Read only if other hosts are named. */
export const launcherExecVariable = {
  names: ['HYDRA_LAUNCHER_EXEC', 'HYDRA_BOOTSTRAP_EXEC'],
  read: words,
  late: true,
} as const satisfies OptionVariable<string[]>;

export function initialErrhandler(text: string): string {
  if (!/^(mpi_)?errors_are_fatal$/i.test(text)) {
    throw new InvalidValue(
      'expected mpi_errors_are_fatal, the default, because no MPI of today takes another one from its launcher',
    );
  }
  return text;
}

/** Reads a pattern of file names. launch() checks its escapes. */
export function pattern(text: string): string {
  if (text === '') throw new InvalidValue('expected a pattern');
  return text;
}

/** 0 is no limit, the same as in Hydra. */
export function timeoutOfVariable(text: string): number | undefined {
  if (!/^(\d+\.?\d*|\.\d+)$/.test(text))
    throw new InvalidValue('expected a positive number of seconds, or 0 for no limit');
  // A longer limit makes no difference to any job.
  return Math.min(Math.ceil(Number(text) * 1000), MAX_TIME_LIMIT) || undefined;
}

export const toFile = (name: string): OutputTarget => ({ file: toBytes(name) });
