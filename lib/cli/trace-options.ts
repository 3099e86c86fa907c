/** The options by which `wireup run` and `wireup serve` record PMI messages. */
import type { TraceOptions, TraceSummary } from '../index';
import { idset, type OptionTable, type Values } from './option';
import { report, stderrStream } from './report';
import { systemWords } from '../system-words';

const group = 'PMI:';

export const traceOptions = {
  trace: {
    value: '[ranks]',
    optional: 'all',
    read: (text: string): 'all' | number[] => (text === 'all' ? text : idset(text)),
    help: 'record each PMI message of these ranks (all ranks without a value), with its time, and the life of each connection: on stderr, or in --trace-file. No rank waits for it: if it is written too slowly, messages are dropped and counted',
    group,
    checkedAs: 'trace.ranks',
  },
  traceFile: {
    value: '<file>',
    help: 'the file for --trace; if its name ends in .json or .jsonl, in the form that wireup trace reads, otherwise as text. It is replaced. Without --trace all ranks are recorded',
    group,
    checkedAs: 'trace.to',
  },
  traceSecrets: { help: 'record PMI_IDs too, in place of ***', group },
} as const satisfies OptionTable;

/**
 * The setting that the options ask for.
 *
 * @param by names the command, for the recording's header
 */
export function traceOf(
  { trace, traceFile, traceSecrets }: Values<typeof traceOptions>,
  by: string,
): { trace?: TraceOptions } {
  if (trace === undefined && traceFile === undefined) return {};
  return {
    trace: {
      to: traceFile ?? stderrStream(),
      ...(traceFile === undefined ? { form: 'text' } : {}),
      ...(trace === undefined || trace === 'all' ? {} : { ranks: trace }),
      secrets: traceSecrets,
      by,
    },
  };
}

/** The file of the recording, if wireup trace can read it. */
export const recordingOf = ({ traceFile }: Values<typeof traceOptions>): string | undefined =>
  traceFile !== undefined && /\.jsonl?$/.test(traceFile) ? traceFile : undefined;

/** How long the command waits at its end for the reader of the recording, in milliseconds. */
const LAST_WAIT_MS = 1000;

/** Waits until the recording is written, and reports what is missing. */
export async function finishTrace(traced: Promise<TraceSummary> | undefined): Promise<void> {
  if (traced === undefined) return;
  let wait: NodeJS.Timeout | undefined;
  const gaveUp = new Promise<undefined>((resolve) => {
    wait = setTimeout(() => resolve(undefined), LAST_WAIT_MS);
  });
  const summary = await Promise.race([traced, gaveUp]);
  clearTimeout(wait);
  if (summary === undefined)
    return report('the end of the trace could not be written: its reader is too slow');
  if (summary.error !== undefined) report(`the trace could not be written: ${systemWords(summary.error)}`);
  if (summary.dropped > 0)
    report(`the trace lacks ${summary.dropped} records, because it was not written fast enough`);
}
