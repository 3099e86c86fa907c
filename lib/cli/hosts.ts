/** Decides which hosts a command line means, how they are reached, and which rank is on which of them. */
import { hostname } from 'node:os';
import { HostListError, parseHostList, type ListedHost } from '../host-list';
import { countSlots, placeOnHosts } from '../host-placement';
import type { JobSettings, LaunchApp, Launcher } from '../index';
import { launcherPrograms } from '../launchers';
import { findAllocation, managerVariable, type Allocation } from './allocation';
import { parseHostFile } from './host-file';
import type { RunProgram } from './mpiexec-args';
import { longName, readVariable, shortened, UsageError } from './option';
import { placeByMap } from './placement';
import { report } from './report';
import type { JobValues } from './run-options';
import { launcherExecVariable, launcherVariable, managerCommands } from './run-values';

/** Hydra's name for this host, in place of a file. */
const USE_LOCALHOST = 'HYDRA_USE_LOCALHOST';

/** Reads a file, as readText() of mpiexec-args.ts does. */
type ReadText = (option: string, file: string) => string;

/** The settings of launch() that decide where ranks run. */
export type HostSettings = Pick<JobSettings, 'hosts' | 'nodes' | 'launcher'>;

/** The hosts of each program, and how they are reached. */
export interface RunHosts {
  /** Empty if the program has none. */
  ofPrograms: readonly (readonly ListedHost[])[];
  /** Undefined if no program has hosts. */
  launcher: JobSettings['launcher'];
}

/** @param list shown if it is wrong */
function namingHosts<T>(option: string, work: () => T, list?: string): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof HostListError)) throw error;
    throw new UsageError(
      `${option}: ${error.message}${list === undefined ? '' : `, got '${shortened(list)}'`}`,
    );
  }
}

function hostsOfFile(option: string, file: string, readText: ReadText): ListedHost[] {
  if (file === USE_LOCALHOST) return [{ name: hostname(), slots: 1 }];
  const { hosts, ignored } = parseHostFile(`${option} ${file}`, readText(option, file));
  for (const line of ignored) report(line);
  return hosts;
}

/** @throws {@link UsageError} */
function launcherOf(options: JobValues, allocation: Allocation | undefined): Launcher {
  const kind = options.launcher ?? readVariable(launcherVariable) ?? allocation?.launcher ?? 'ssh';
  if (kind === 'fork') return kind;
  const words = options.launcherExec ?? readVariable(launcherExecVariable);
  if (kind === 'exec') {
    if (words === undefined) throw new UsageError('--launcher exec needs --launcher-exec');
    return { exec: words };
  }
  if (kind === 'lsf' || kind === 'sge') return { exec: words ?? managerCommands[kind] };
  const extra = (process.env.HYDRA_LAUNCHER_EXTRA_ARGS ?? '').split(/\s+/).filter((word) => word !== '');
  const all = [...(words ?? launcherPrograms[kind]), ...extra];
  return kind === 'ssh' ? { ssh: all } : { slurm: all };
}

/** Only ssh can start the agent as another user. */
function withoutUsers(hosts: readonly ListedHost[], launcher: Launcher): readonly ListedHost[] {
  if (typeof launcher === 'object' && 'ssh' in launcher) return hosts;
  return hosts.map(({ name, slots, user }) => {
    if (user !== undefined)
      report(`host ${name}: the user ${user} is ignored; only --launcher ssh changes users`);
    return { name, slots };
  });
}

/**
 * Finds the hosts by the options, else by HYDRA_HOST_FILE, else by the allocation of a resource manager. Options that place
 * ranks otherwise, and the launcher fork, exclude the last two. If there are no hosts, no variable about launchers is read.
 *
 * @throws {@link UsageError}
 */
export function findHosts(options: JobValues, programs: readonly RunProgram[], readText: ReadText): RunHosts {
  const lists = programs.map((program) => program.options.hosts);
  // The hosts of the first program hold for all programs that name none.
  const first = lists[0];
  if (first !== undefined && options.hostfile !== undefined)
    throw new UsageError('--hosts and --hostfile: expected one of them');
  const allocation = findAllocation(options.rmk ?? readVariable(managerVariable), {
    environment: process.env,
    readText,
  });
  const shared = (): readonly ListedHost[] => {
    if (options.hostfile !== undefined) return hostsOfFile('--hostfile', options.hostfile, readText);
    if (options.map !== undefined || options.nodePerRank) return [];
    const file = process.env.HYDRA_HOST_FILE;
    if ((!file && allocation === undefined) || launcherOf(options, allocation) === 'fork') return [];
    if (file) return hostsOfFile('HYDRA_HOST_FILE', file, readText);
    const hosts = allocation!.hosts();
    if (allocation!.note !== undefined) report(allocation!.note);
    return hosts;
  };
  const others = lists.includes(undefined) && first === undefined ? shared() : [];
  const readList = (list: string): ListedHost[] => namingHosts('--hosts', () => parseHostList(list), list);
  const found = lists.map((own) =>
    own === undefined && first === undefined ? others : readList(own ?? first!),
  );
  if (found.every(({ length }) => length === 0)) return { ofPrograms: found, launcher: undefined };
  const launcher = launcherOf(options, allocation);
  return { ofPrograms: found.map((hosts) => withoutUsers(hosts, launcher)), launcher };
}

/** How many ranks a program has without -n. */
export function ranksByDefault(options: JobValues, hosts: readonly ListedHost[], isAlone: boolean): number {
  if (isAlone && options.map?.kind === 'list') return options.map.nodes.length;
  return hosts.length === 0 ? (options.ppn ?? 1) : countSlots(hosts, options.ppn);
}

/**
 * Returns where the ranks are; no settings if all are on one node of this host.
 *
 * @throws {@link UsageError}
 */
export function placeRanks(
  options: JobValues,
  apps: readonly LaunchApp[],
  { ofPrograms, launcher }: RunHosts,
): HostSettings {
  const size = apps.reduce((sum, { ranks }) => sum + ranks, 0);
  const ways = (['map', 'nodePerRank'] as const)
    .filter((key) => options[key])
    .map((key) => `--${longName(key)}`);
  if (launcher !== undefined) ways.unshift('--hosts');
  if (options.ppn !== undefined && options.map !== undefined) ways.push('--ppn');
  if (ways.length > 1)
    throw new UsageError(`${ways.join(' and ')}: each of them places ranks on nodes; expected one`);
  if (options.map !== undefined) return { ...placeByMap(options.map, size), launcher: 'fork' };
  if (launcher === undefined) return {};
  const here = [{ name: hostname(), slots: 1 }];
  const placed = apps.map(({ ranks }, i) => ({
    ranks,
    hosts: ofPrograms[i]!.length > 0 ? ofPrograms[i]! : here,
  }));
  return {
    ...namingHosts(options.hostfile === undefined ? '--hosts' : '--hostfile', () =>
      placeOnHosts(placed, options.ppn),
    ),
    launcher,
  };
}

/** The settings for a program that runs already: the hosts are for the ranks that it spawns. */
export function spawnHosts({ ofPrograms, launcher }: RunHosts): Pick<HostSettings, 'hosts' | 'launcher'> {
  return launcher === undefined ? {} : { hosts: ofPrograms.flat(), launcher };
}
