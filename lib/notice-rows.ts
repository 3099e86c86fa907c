/**
 * Makes objects of the rows of numbers in which the addon passes what there is for each rank. native/addon/notice_batch.h has
 * the reason. The numbers have the order of RowWriter and set_ranks() in native/addon.
 */
import { native, type NativeEnumerators } from './native';
import type { NativeNotice, NativePeer, NativeRankRow, NativeResult, NativeTimes } from './native-notices';

const EVENT = 1;
const STARTED = 2;
const EXITED = 3;
/** How many numbers a notice has. */
const INTEGERS = 12;
const DOUBLES = 2;

/** How many numbers a rank has in a result. */
const RANK_INTEGERS = 8;
const RANK_DOUBLES = 9;

let enumerators: NativeEnumerators | undefined;

/**
 * The notices of a batch.
 *
 * @param values what they have beside numbers, in order
 */
export function readNotices(
  count: number,
  integers: Int32Array,
  doubles: Float64Array,
  values: readonly unknown[],
): NativeNotice[] {
  const { events } = (enumerators ??= native.enumerators());
  let taken = 0;
  const take = (): unknown => values[taken++];
  const read = (i: number): NativeNotice => {
    const at = i * INTEGERS;
    const is = (field: number): boolean => integers[at + field] === 1;
    const handle = integers[at + 1]!;
    const group = integers[at + 2]!;
    const rank = integers[at + 3]!;
    const time = doubles[i * DOUBLES]!;
    switch (integers[at]) {
      case EVENT:
        return {
          handle,
          group,
          time,
          type: 'event',
          rank,
          event: events[integers[at + 4]!]!,
          exitCode: integers[at + 5]!,
          lost: is(6),
          version: integers[at + 7]!,
          subversion: integers[at + 8]!,
          repeats: is(9),
          barrier: doubles[i * DOUBLES + 1]!,
          message: is(10) ? (take() as string) : '',
          peer: is(11) ? (take() as NativePeer) : undefined,
        };
      case STARTED:
        return {
          handle,
          group,
          time,
          type: 'started',
          rank,
          pid: integers[at + 4]!,
          cpus: is(5) ? (take() as number[]) : [],
        };
      case EXITED:
        return {
          handle,
          group,
          time,
          type: 'exited',
          rank,
          pid: integers[at + 4]!,
          exited: is(5),
          signaled: is(6),
          value: integers[at + 7]!,
          coreDumped: is(8),
          ended: is(9),
        };
      default:
        return take() as NativeNotice;
    }
  };
  const notices: NativeNotice[] = [];
  for (let i = 0; i < count; i++) notices.push(read(i));
  return notices;
}

/** The ranks of a result, in rank order. */
export function readRankRows({ integers, doubles, entered }: NativeResult): NativeRankRow[] {
  const { states } = (enumerators ??= native.enumerators());
  const read = (rank: number): NativeRankRow => {
    const at = rank * RANK_INTEGERS;
    const is = (field: number): boolean => integers[at + field] === 1;
    const from = rank * RANK_DOUBLES;
    return {
      pid: integers[at]!,
      exited: is(1),
      signaled: is(2),
      value: integers[at + 3]!,
      coreDumped: is(4),
      ended: is(5),
      host: integers[at + 6]!,
      state: states[integers[at + 7]!]!,
      cpuUser: doubles[from]!,
      cpuSystem: doubles[from + 1]!,
      times: readTimes(doubles, from + 2, entered?.[rank]),
    };
  };
  const rows: NativeRankRow[] = [];
  for (let rank = 0; rank * RANK_INTEGERS < integers.length; rank++) rows.push(read(rank));
  return rows;
}

const MOMENTS = [
  'started',
  'connected',
  'initialized',
  'finalized',
  'aborted',
  'disconnected',
  'exited',
] as const satisfies (keyof NativeTimes)[];

/** Negative: it did not happen. */
function readTimes(doubles: Float64Array, from: number, entered: (number | null)[] = []): NativeTimes {
  const times: NativeTimes = {};
  for (let i = 0; i < MOMENTS.length; i++) {
    const time = doubles[from + i]!;
    if (time >= 0) times[MOMENTS[i]!] = time;
  }
  if (entered.length > 0) times.entered = entered;
  return times;
}
