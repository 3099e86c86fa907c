/** A timeline as trace events: a process for each host, a thread for each rank. */
import type { RecordBase } from '../trace/format';
import { rowByGroup, Timeline } from '../trace/timeline';
import { TraceEvents, type TraceRow } from '../trace/trace-events';
import { describePhase } from './draw';
import { readMessages } from './messages';
import type { TimelineModel } from './model';

/** Process numbers of spawned process groups, above those of hosts. */
const FIRST_GROUP = 1_000_000;

const MICROSECONDS = 1000;

/** Writes the document in parts. `recording`: a recording of the job, whose messages become events too. */
export async function writeTraceEvents(
  model: TimelineModel,
  recording: string | undefined,
  write: (part: string) => void,
): Promise<void> {
  const { result, hosts, groups } = model;
  /** By the labels of ranks. */
  const rows = new Map<string, TraceRow>();
  for (const [pid, { host, lines }] of hosts.entries()) {
    for (const { rank, label } of lines)
      rows.set(label, { pid, process: `host ${host}`, tid: rank, thread: `rank ${label}` });
  }
  for (const { group, hosts: own } of groups) {
    const [pid, process] = [FIRST_GROUP + group, `process group ${group}`];
    for (const { rank, label } of own.flatMap(({ lines }) => lines))
      rows.set(label, { pid, process, tid: rank, thread: `rank ${label}` });
  }
  const events = new TraceEvents();
  write(events.begin());
  for (const line of [...hosts, ...groups.flatMap((group) => group.hosts)].flatMap(({ lines }) => lines)) {
    const row = rows.get(line.label)!;
    for (const phase of line.phases) {
      const { kind, from, to, barrier, incomplete } = phase;
      const onPath = line === model.last && to <= (result.barriers.times[0] ?? 0);
      write(
        events.add(row, {
          name: kind === 'barrier' ? `barrier ${barrier}` : describePhase(phase).split(':')[0],
          cat: onPath ? 'path,phase' : 'phase',
          ph: 'X',
          ts: from * MICROSECONDS,
          dur: (to - from) * MICROSECONDS,
          args: {
            ...(incomplete ? { incomplete } : {}),
            ...(onPath ? { 'came last to the first barrier': true } : {}),
          },
        }),
      );
    }
    for (const [name, time] of marksOf(line)) {
      if (time === undefined) continue;
      write(events.add(row, { name, cat: 'mark', ph: 'i', s: 't', ts: time * MICROSECONDS }));
    }
  }
  if (recording !== undefined) {
    const rowOf = (record: RecordBase): TraceRow => {
      const known = record.group === 0 && record.rank !== undefined ? rows.get(`${record.rank}`) : undefined;
      return known ?? { ...rowByGroup(record), pid: FIRST_GROUP + record.group };
    };
    const timeline = new Timeline(events, rowOf);
    await readMessages(recording, result.begun, (step, shift) => write(timeline.add(step, shift)));
  }
  write(events.end());
}

function marksOf({
  connected,
  failedAt,
  result: { times },
}: TimelineModel['hosts'][number]['lines'][number]): [string, number | undefined][] {
  return [
    ['connect', connected],
    ['init', times.initialized],
    ['finalize', times.finalized],
    ['abort', times.aborted],
    ['exit', times.exited],
    ['failure', failedAt],
  ];
}
