import { native, type NativeRankPlace } from './native';
import { PmiError } from './errors';

/** Environment variables by name. A variable that is `undefined` is not set. */
export type Environment = Record<string, string | undefined>;

/**
 * Returns a copy of `environment` without the variables of another process manager (`PMI_*`, `PMI2_*`,
 * `PMIX_*`, `HYDI_*`, `MPI_LOCAL*`). A stale variable makes MPICH fail: with `PMI_FD` it uses a closed
 * descriptor although `PMI_PORT` is set, and with `PMI_SPAWNED=1` it aborts in MPI_Init. `launch()` removes
 * them by itself. A launcher of your own should call this function.
 */
export function scrubEnvironment(environment: Environment): Environment {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !native.isStalePmiVariable(name)));
}

/** Converts `["A=1"]` to `{ A: "1" }`. */
export function toRecord(variables: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    variables.map((variable) => {
      const at = variable.indexOf('=');
      return [variable.slice(0, at), variable.slice(at + 1)];
    }),
  );
}

/**
 * The rank's place on its node, if nodes are filled in the order of the ranks. The last node may have fewer
 * ranks.
 */
export function placeOf(rank: number, size: number, ranksPerNode: number): NativeRankPlace {
  const localRank = rank % ranksPerNode;
  return { rank, size, localRank, localSize: Math.min(ranksPerNode, size - (rank - localRank)) };
}

/** How a client connects to its server, according to its environment. */
export type ClientTarget =
  | { kind: 'fd'; fd: number; rank: number; size: number; spawned: boolean; jobId?: string }
  | { kind: 'port'; address: string; id: string; spawned: boolean; jobId?: string }
  | { kind: 'singleton' };

/**
 * Reads PMI_FD with PMI_RANK and PMI_SIZE, or else PMI_PORT with PMI_ID. Without both, the process is a
 * singleton.
 *
 * @throws {@link PmiError} `ERR_PMI_ENVIRONMENT` if a variable is missing or malformed
 */
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
        'PMI_PORT is set, but PMI_ID is not. The server would refuse the connection. A launcher sets both variables',
      );
    }
    return { kind: 'port', address: environment.PMI_PORT, id: environment.PMI_ID, spawned, ...job };
  }
  return { kind: 'singleton' };
}
