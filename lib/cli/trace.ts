/** `wireup trace`: reads recordings. */
import { openSync, writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import { isMessage } from '../trace/format';
import { RecordingJudge, type Mark } from '../trace/judge';
import { printableJson } from '../printable';
import { mergeRecordings } from '../trace/merge';
import { Conversation, isError, isTrouble, type EventStep, type Step } from '../trace/messages';
import { showMark, showRecord } from '../trace/show';
import { describeSummary, Summarizer } from '../trace/summary';
import { Timeline } from '../trace/timeline';
import { Transcripts } from '../trace/transcript';
import { addOptions } from './commander-options';
import { idset, type OptionTable, type Values } from './option';
import { print, report } from './report';
import { systemWords } from '../system-words';

const options = {
  rank: {
    short: 'r',
    value: '<ranks>',
    read: idset,
    help: 'only these ranks, in every process group, such as 0,4-7',
  },
  command: {
    short: 'c',
    value: '<names>',
    read: (text: string): string[] => text.split(',').filter((name) => name !== ''),
    help: 'only these commands and their replies, such as get,kvs-get',
  },
  errors: {
    short: 'e',
    help: 'only what is wrong: replies that report an error, with their requests, broken rules, refused and lost connections, missing records',
  },
  summary: {
    help: 'print how often each command was sent and how long it took, which rank came last to each barrier, keys that were missing, and broken rules',
    conflicts: ['transcript', 'timeline', 'errors', 'command'],
  },
  transcript: {
    help: "print a page of transcripts, the form of wireup's tests (test/vectors of the source)",
    conflicts: ['timeline', 'errors', 'command'],
  },
  timeline: {
    value: '<file>',
    help: 'write a file for timeline viewers (Perfetto, chrome://tracing): a line for each rank, a slice for each request',
    conflicts: ['errors', 'command'],
  },
  json: { help: 'with --summary: one JSON document. Otherwise: the records as JSON lines' },
} as const satisfies OptionTable;

type TraceValues = Values<typeof options>;

export function addTrace(program: Command): void {
  addOptions(program.command('trace').argument('<file...>'), options)
    .description('show recordings of PMI messages (wireup run --trace-file x.jsonl, wireup tap)')
    .addHelpText(
      'after',
      `
Several files are merged by time; - is stdin. Each line has the seconds since the start, the rank (1.3 is rank 3 of the
spawned process group 1, ?5 is a connection that has not identified itself), and C: for messages of the client or S: for
those of the server. A line below a message names a rule that the message breaks, its document, and the side that has
broken it (docs/conformance.md lists the rules); that does not change the exit code. If a recording is damaged, what
comes before the damage is shown, and the exit code is 1.

Examples:
  wireup run -n 4 --trace-file job.jsonl ./a.out
  wireup trace job.jsonl --rank 0 --command get,put
  wireup trace job.jsonl --summary`,
    )
    .action((files: string[], values: TraceValues) => show(files, values));
}

/** The letters that are written at once. */
const PAGE = 65_536;

/** Collects what is printed, because each call of print() is a write. */
class Pages {
  #text = '';

  add(line: string): void {
    this.#text += `${line}\n`;
    if (this.#text.length > PAGE) this.flush();
  }

  flush(): void {
    print(this.#text);
    this.#text = '';
  }
}

/** What becomes of the records. */
interface Reader {
  add(step: Step | EventStep, marks: readonly Mark[]): void;
  end(): void;
}

async function show(files: readonly string[], values: TraceValues): Promise<void> {
  const merged = await mergeRecordings(files, (error) => {
    report(error.message);
    process.exitCode = 1;
  });
  if (merged.headers.length === 0) return;
  const pages = new Pages();
  const reader = makeReader(values, pages, merged.headers);
  const ranks = values.rank === undefined ? undefined : new Set(values.rank);
  const conversation = new Conversation();
  const judge = new RecordingJudge();
  for await (const record of merged.records) {
    const step = conversation.follow(record);
    const marks = judge.follow(step);
    const { rank } = step.record;
    if (ranks === undefined || (rank !== undefined && ranks.has(rank))) reader.add(step, marks);
  }
  reader.end();
  pages.flush();
}

function makeReader(
  values: TraceValues,
  pages: Pages,
  headers: ConstructorParameters<typeof Transcripts>[0],
): Reader {
  if (values.summary) {
    const summarizer = new Summarizer();
    return {
      add: (step, marks) => summarizer.add(step, marks),
      end: () => {
        const { summary } = summarizer;
        for (const line of values.json ? [printableJson(summary)] : describeSummary(summary)) pages.add(line);
      },
    };
  }
  if (values.transcript) {
    const transcripts = new Transcripts(headers);
    return {
      add: (step) => transcripts.add(step),
      end: () => {
        for (const line of transcripts.page()) pages.add(line);
        if (!transcripts.isCut) return;
        report('the recordings are too long for a transcript, which has only their beginning');
        process.exitCode = 1;
      },
    };
  }
  if (values.timeline !== undefined) return writeTimeline(values.timeline);
  return makePrinter(values, pages);
}

function writeTimeline(file: string): Reader {
  const timeline = new Timeline();
  const descriptor = openSync(file, 'w');
  let text = timeline.begin();
  const flush = (): void => {
    try {
      writeFileSync(descriptor, text);
    } catch (cause) {
      throw new Error(`${file}: ${systemWords(cause)}`, { cause });
    }
    text = '';
  };
  return {
    add: (step) => {
      text += timeline.add(step);
      if (text.length > PAGE) flush();
    },
    end: () => {
      text += timeline.end();
      flush();
    },
  };
}

function makePrinter({ command, errors, json }: TraceValues, pages: Pages): Reader {
  const wanted = command === undefined ? undefined : new Set(command);
  const line = (step: Step | EventStep, broken: readonly Mark[]): string => {
    if (!json) return showRecord(step.record, step.at);
    return printableJson(broken.length === 0 ? step.record : { ...step.record, broken });
  };
  /** Requests that have been printed. */
  const shown = new WeakSet<Step>();
  const add = (step: Step | EventStep, marks: readonly Mark[]): void => {
    if (!isMessage(step.record)) {
      if (wanted === undefined && (!errors || isTrouble((step as EventStep).record)))
        pages.add(line(step, marks));
      return;
    }
    const message = step as Step;
    const { request } = message;
    if (wanted !== undefined) {
      const names = [message.message.command, request?.message.command];
      if (!names.some((name) => name !== undefined && wanted.has(name))) return;
    }
    if (errors && !isError(message) && marks.length === 0) return;
    // A reply is hard to understand without its request.
    if (errors && request !== undefined && !shown.has(request)) pages.add(line(request, []));
    shown.add(message);
    pages.add(line(message, marks));
    if (!json) for (const mark of marks) pages.add(showMark(mark));
  };
  return { add, end: () => {} };
}
