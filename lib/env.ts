import { native, type NativeRankPlace } from './native';
import { PmiError } from './errors';

/** Environment variables by name. A variable that is `undefined` is not set. */
export type Environment = Record<string, string | undefined>;

/**
 * A copy of `environment` without what another process manager left in it (`PMI_*`, `PMI2_*`, `PMIX_*`, `HYDI_*`,
 * `MPI_LOCAL*`). Beside a fresh `PMI_PORT`, a stale `PMI_FD` makes MPICH use the dead fd, and a stale
 * `PMI_SPAWNED=1` aborts MPI_Init. `launch()` does this by itself; do it in a launcher of your own.
 */
export function scrubEnvironment(environment: Environment): Environment {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !native.isStalePmiVariable(name)));
}

/** `["A=1"]` as `{ A: "1" }`. */
export function toRecord(variables: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    variables.map((variable) => {
      const at = variable.indexOf('=');
      return [variable.slice(0, at), variable.slice(at + 1)];
    }),
  );
}

/** Nodes are filled in the order of ranks; the last may have fewer. */
export function placeOf(rank: number, size: number, ranksPerNode: number): NativeRankPlace {
  const localRank = rank % ranksPerNode;
  return { rank, size, localRank, localSize: Math.min(ranksPerNode, size - (rank - localRank)) };
}

/** How a client finds its server, as its environment says. */
export type ClientTarget =
  | { kind: 'fd'; fd: number; rank: number; size: number; spawned: boolean; jobId?: string }
  | { kind: 'port'; address: string; id: string; spawned: boolean; jobId?: string }
  | { kind: 'singleton' };

/** Reads PMI_FD (with PMI_RANK, PMI_SIZE), else PMI_PORT (with PMI_ID), else it is a singleton of size 1. */
export function readClientEnvironment(environment: Environment): ClientTarget {
  const number = (name: string, max: number): number => {
    const text = environment[name];
    if (text === undefined || !/^\d+$/.test(text) || Number(text) > max) {
      throw new PmiError(
        'ERR_PMI_ENVIRONMENT',
        `${name}=${text ?? '(not set)'}: expected a whole number up to ${max}`,
      );
    }
    return Number(text);
  };
  const spawned = environment.PMI_SPAWNED === '1';
  const job = environment.PMI_JOBID === undefined ? {} : { jobId: environment.PMI_JOBID };
  if (environment.PMI_FD !== undefined) {
    const max = 2 ** 31 - 1;
    const [fd, size] = [number('PMI_FD', max), number('PMI_SIZE', max)];
    return { kind: 'fd', fd, rank: number('PMI_RANK', size - 1), size, spawned, ...job };
  }
  if (environment.PMI_PORT !== undefined) {
    if (environment.PMI_ID === undefined) {
      throw new PmiError(
        'ERR_PMI_ENVIRONMENT',
        'PMI_PORT is set but PMI_ID is not: the server would refuse us; a launcher sets both',
      );
    }
    return { kind: 'port', address: environment.PMI_PORT, id: environment.PMI_ID, spawned, ...job };
  }
  return { kind: 'singleton' };
}
