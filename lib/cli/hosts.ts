/** Decides which hosts a command line means, how they are reached, and which rank is on which of them. */
import { hostname } from 'node:os';
import { HostListError, parseHostList, type ListedHost } from '../host-list';
import { countSlots, findUserConflict, placeOnHosts } from '../host-placement';
import type { JobSettings, LaunchApp } from '../index';
import { launcherPrograms } from '../launchers';
import { parseHostFile } from './host-file';
import type { RunProgram } from './mpiexec-args';
import { longName, UsageError } from './option';
import { placeByMap } from './placement';
import { report } from './report';
import type { JobValues } from './run-options';
import { slurmAllocation } from './slurm-allocation';

/** Hydra's name for this host, in place of a file. */
const USE_LOCALHOST = 'HYDRA_USE_LOCALHOST';

/** Reads a file, as readText() of mpiexec-args.ts does. */
type ReadText = (option: string, file: string) => string;

/** The settings of launch() that say where ranks run. */
export type HostSettings = Pick<JobSettings, 'hosts' | 'nodes' | 'launcher' | 'pretendHosts'>;

/** The hosts of each program, and how they are reached. */
export interface RunHosts {
  /** Empty if the program names none. */
  ofPrograms: readonly (readonly ListedHost[])[];
  launcher: Exclude<JobSettings['launcher'], undefined>;
}

function hostsOfList(option: string, list: string): ListedHost[] {
  try {
    return parseHostList(list);
  } catch (error) {
    if (!(error instanceof HostListError)) throw error;
    throw new UsageError(`${option}: ${error.message}, got '${list}'`);
  }
}

function hostsOfFile(option: string, file: string, readText: ReadText): ListedHost[] {
  if (file === USE_LOCALHOST) return [{ name: hostname(), slots: 1 }];
  const { hosts, ignored } = parseHostFile(`${option} ${file}`, readText(option, file));
  for (const line of ignored) report(line);
  return hosts;
}

function launcherOf(options: JobValues, inAllocation: boolean): RunHosts['launcher'] {
  const kind = options.launcher ?? (inAllocation ? 'slurm' : 'ssh');
  const words = options.launcherExec;
  if (kind === 'fork') return kind;
  if (kind === 'exec') {
    if (words === undefined) throw new UsageError('--launcher exec needs --launcher-exec');
    return { exec: words };
  }
  const extra = (process.env.HYDRA_LAUNCHER_EXTRA_ARGS ?? '').split(/\s+/).filter((word) => word !== '');
  const all = [...(words ?? launcherPrograms[kind]), ...extra];
  return kind === 'ssh' ? { ssh: all } : { slurm: all };
}

/** Only ssh can start the agent as another user. */
function withoutUsers(hosts: readonly ListedHost[], launcher: RunHosts['launcher']): readonly ListedHost[] {
  if (typeof launcher === 'object' && 'ssh' in launcher) return hosts;
  return hosts.map(({ name, slots, user }) => {
    if (user !== undefined)
      report(`host ${name}: the user ${user} is ignored; only --launcher ssh changes users`);
    return { name, slots };
  });
}

/**
 * Finds the hosts by the options, else by HYDRA_HOST_FILE, else by the allocation of Slurm. Options that place ranks otherwise,
 * and --launcher fork, exclude the last two.
 *
 * @throws {@link UsageError}
 */
export function findHosts(options: JobValues, programs: readonly RunProgram[], readText: ReadText): RunHosts {
  const lists = programs.map((program) => program.options.hosts);
  // The hosts of the first program hold for all programs that name none.
  const first = lists[0];
  if (first !== undefined && options.hostfile !== undefined)
    throw new UsageError('--hosts and --hostfile: expected one of them');
  const allocation = slurmAllocation(process.env);
  const launcher = launcherOf(options, allocation !== undefined);
  const isFree =
    options.hostfile === undefined &&
    options.map === undefined &&
    !options.nodePerRank &&
    launcher !== 'fork';
  const byDefault = (): readonly ListedHost[] => {
    const file = process.env.HYDRA_HOST_FILE;
    if (file !== undefined && file !== '') return hostsOfFile('HYDRA_HOST_FILE', file, readText);
    return allocation ?? [];
  };
  const shared =
    options.hostfile !== undefined
      ? hostsOfFile('--hostfile', options.hostfile, readText)
      : isFree && lists.includes(undefined) && first === undefined
        ? byDefault()
        : [];
  const found = lists.map((own) =>
    own === undefined && first === undefined ? shared : hostsOfList('--hosts', own ?? first!),
  );
  const conflict = findUserConflict(found.flat());
  if (conflict !== undefined)
    throw new UsageError(`host ${conflict}: expected one user in all places that name the host`);
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
  const isNamed = ofPrograms.some(({ length }) => length > 0);
  const ways = (['map', 'nodePerRank'] as const)
    .filter((key) => options[key])
    .map((key) => `--${longName(key)}`);
  if (isNamed) ways.unshift('--hosts');
  if (options.ppn !== undefined && options.map !== undefined) ways.push('--ppn');
  if (ways.length > 1)
    throw new UsageError(`${ways.join(' and ')}: each of them places ranks on nodes; expected one`);
  if (options.map !== undefined)
    return { ...placeByMap(options.map, size), launcher: 'fork', pretendHosts: true };
  if (!isNamed) return {};
  const here = [{ name: hostname(), slots: 1 }];
  const placed = apps.map(({ ranks }, i) => ({
    ranks,
    hosts: ofPrograms[i]!.length > 0 ? ofPrograms[i]! : here,
  }));
  return { ...placeOnHosts(placed, options.ppn), launcher, pretendHosts: launcher === 'fork' };
}

/** The settings for a program that runs already: the hosts are for the ranks that it spawns. */
export function spawnHosts({ ofPrograms, launcher }: RunHosts): Pick<HostSettings, 'hosts' | 'launcher'> {
  const hosts = ofPrograms.flat();
  return hosts.length === 0 ? {} : { hosts, launcher };
}
