/** The options that `wireup run` and `wireup serve` share: the PMI version, which processes may join, how much ranks may store. */
import { DEFAULT_KVS_LIMIT } from '../limits';
import { InvalidValue, wholeNumber, type OptionTable } from './option';

const group = 'PMI:';

type Uids = (number | [number, number])[];

/** `1000` or `100000-165535`. */
function addUids(text: string, before: Uids = []): Uids {
  const match = /^(\d+)(?:-(\d+))?$/.exec(text);
  if (match === null) throw new InvalidValue('expected a uid, or a range such as 100000-165535');
  const first = Number(match[1]);
  return [...before, match[2] === undefined ? first : [first, Number(match[2])]];
}

function subversion(text: string): 1 | 2 {
  if (text !== '1' && text !== '2') throw new InvalidValue('expected 1 or 2');
  return text === '2' ? 2 : 1;
}

export const admissionOptions = {
  pmiSubversion: {
    value: '<N>',
    choices: ['1', '2'],
    read: subversion,
    defaultText: '1',
    variable: { names: ['WIREUP_PMI_SUBVERSION'], read: subversion },
    help: "the newest PMI-1 that the server offers: 1.1, or 1.2. MPICH's library uses barriers of a part of the ranks (PMI_Barrier_group) only with 1.2; Flux's library fails with it",
    group,
    setting: 'pmiSubversion',
  },
  strict: {
    help: 'do what RFC 13 demands where the server otherwise does what its clients expect: an invalid message, such as an unknown command, ends the connection of its rank',
    group,
    setting: 'strict',
  },
  pmiId: {
    value: '<kind>',
    choices: ['number', 'long', 'rank'],
    default: 'number',
    help: "what proves a rank: number, a random number (works with every MPI); long, 128 random bits (works only with wireup's own clients); rank, the plain rank, which proves nothing: any process that may connect can be any rank",
    group,
    setting: 'pmiId',
  },
  reconnect: {
    help: 'a rank whose connection has ended may connect again with its PMI_ID. Then a PMI_ID can be used more than once, and a rank that stays away is not reported as lost',
    group,
    setting: 'reconnect',
  },
  allowUid: {
    value: '<uid>',
    read: addUids,
    help: 'a user of this machine who may join, as a uid or a range of uids; can be given several times. It replaces the default, your own uid. If several users may join, every user can connect to the socket, and the server refuses the others by the uid that the kernel reports',
    group,
    setting: 'allowedUids',
  },
  kvsLimit: {
    value: '<bytes>',
    read: wholeNumber(1, Number.MAX_SAFE_INTEGER),
    default: DEFAULT_KVS_LIMIT,
    defaultText: '1 GiB',
    help: 'how much memory the keys and values of the ranks may take; each entry counts 128 bytes beside its own length. A put above the limit gets an error',
    group,
    setting: 'kvsLimit',
  },
} as const satisfies OptionTable;
