/**
 * The options of run and serve for the PMI that a job's server speaks, for who may join (each says what it gives up), and
 * for how much ranks may store.
 */
import { InvalidArgumentError, Option, type Command } from 'commander';
import type { PmiId } from '../index';
import { DEFAULT_KVS_LIMIT } from '../limits';
import { UsageError } from './mpiexec-args';
import { wholeNumber } from './report';

export interface AdmissionFlags {
  pmiSubversion?: '1' | '2';
  pmiId: PmiId;
  reconnect: boolean;
  allowUid?: (number | [number, number])[];
  kvsLimit: number;
}

const SUBVERSION_VARIABLE = 'WIREUP_PMI_SUBVERSION';

/** `1000` or `100000-165535`. */
function addUids(
  text: string,
  previous: (number | [number, number])[] | undefined,
): (number | [number, number])[] {
  const match = /^(\d+)(?:-(\d+))?$/.exec(text);
  if (match === null) throw new InvalidArgumentError('Expected a uid or a range such as 100000-165535.');
  const first = Number(match[1]);
  return [...(previous ?? []), match[2] === undefined ? first : [first, Number(match[2])]];
}

export function addAdmissionOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--pmi-subversion <N>',
        `the newest PMI-1 that ranks are offered: 1.1, or 1.2, for barriers of groups (PMI_Barrier_group) by MPICH's library of today; ranks that have Flux's library then fail. ${SUBVERSION_VARIABLE}, else 1 by default`,
      ).choices(['1', '2']),
    )
    .addOption(
      new Option(
        '--pmi-id <kind>',
        "what proves a rank: a random number (every MPI), 128 random bits (only wireup's own clients), or the plain rank, which proves nothing: any process that may connect can be any rank",
      )
        .choices(['number', 'long', 'rank'])
        .default('number'),
    )
    .option(
      '--reconnect',
      'a rank whose connection has gone may come back with its PMI_ID, which is then no longer good for one use only; a rank that stays away is not reported as lost',
      false,
    )
    .addOption(
      new Option(
        '--allow-uid <uid>',
        'users of this machine who may join, a uid or a range; may be given several times. It takes the place of the default, your own uid. A socket for several users can be connected to by all: the kernel says who it is',
      ).argParser(addUids),
    )
    .addOption(
      new Option(
        '--kvs-limit <bytes>',
        'what the keys and values that ranks put may take together, each with 128 bytes beside its own; a put over it is answered with an error',
      )
        .argParser(wholeNumber(1, Number.MAX_SAFE_INTEGER))
        .default(DEFAULT_KVS_LIMIT, '1 GiB'),
    );
}

/** An empty variable is as one that is not set. */
function subversionOf(flags: AdmissionFlags): 1 | 2 {
  const text = flags.pmiSubversion ?? (process.env[SUBVERSION_VARIABLE] || '1');
  if (text !== '1' && text !== '2') throw new UsageError(`${SUBVERSION_VARIABLE}=${text}: expected 1 or 2`);
  return text === '2' ? 2 : 1;
}

/** As the library takes them. */
export function toAdmission(flags: AdmissionFlags): {
  pmiSubversion: 1 | 2;
  pmiId: PmiId;
  reconnect: boolean;
  kvsLimit: number;
  allowedUids?: (number | [number, number])[];
} {
  return {
    pmiSubversion: subversionOf(flags),
    pmiId: flags.pmiId,
    reconnect: flags.reconnect,
    kvsLimit: flags.kvsLimit,
    ...(flags.allowUid === undefined ? {} : { allowedUids: flags.allowUid }),
  };
}
