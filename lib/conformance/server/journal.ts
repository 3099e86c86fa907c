/**
 * How a rank passes what it finds to the process that has started its launcher: entry by entry, because a check may end the
 * job. The entries go to a file in a folder of that process, or, if the rank runs on another host, to stdout.
 */
import { appendFileSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Finding } from '../finding';
import type { RankObserver, RankReport } from './check-rank';
import type { Place } from './probes-start';

type Entry =
  { place: Place } | { begin: string } | { line: string } | { finding: Finding } | { report: RankReport };

/** Before each entry on stdout. Launchers may put a label before it. */
const MARK = 'wireup-check: ';

/** The rank's side. */
export class Journal implements RankObserver {
  readonly #folder: string;
  readonly #print: (text: string) => void;
  readonly #source = `${hostname()}-${process.pid}`;
  readonly #here: boolean;

  constructor(folder: string, print: (text: string) => void) {
    this.#folder = folder;
    this.#print = print;
    this.#here = existsSync(folder);
  }

  onPlace(place: Place): void {
    this.#write({ place });
  }

  onBegin(rule: string): void {
    this.#write({ begin: rule });
  }

  onLine(line: string): void {
    this.#write({ line });
  }

  onFinding(finding: Finding): void {
    this.#write({ finding });
  }

  end(report: RankReport): void {
    this.#write({ report });
  }

  #write(entry: Entry): void {
    const text = JSON.stringify(entry);
    if (this.#here) appendFileSync(join(this.#folder, this.#source), `${text}\n`);
    else this.#print(`${MARK}${this.#source} ${text}\n`);
  }
}

/** What the journal of rank 0 has. */
export interface RankHistory {
  readonly place: Place | undefined;
  /** Of the checks that have ended. */
  readonly findings: readonly Finding[];
  /** The check that had not ended, with its lines. */
  readonly running: { readonly rule: string; readonly lines: readonly string[] } | undefined;
  /** Undefined: the rank has been ended. */
  readonly report: RankReport | undefined;
}

/**
 * Reads the journals of a job.
 *
 * @param output what the launcher has written on stdout
 * @param onOther gets the lines that belong to no journal
 * @returns that of rank 0, or of the rank that got furthest if no rank knows its number; undefined if there is none
 */
export function readJournals(
  folder: string,
  output: string,
  onOther: (line: string) => void,
): RankHistory | undefined {
  const journals = new Map<string, string[]>();
  for (const name of readdirSync(folder))
    journals.set(name, readFileSync(join(folder, name), 'utf8').split('\n'));
  for (const line of output.split('\n')) {
    const [, source, entry] = new RegExp(`${MARK}(\\S+) (.*)$`).exec(line) ?? [];
    if (source === undefined) {
      if (line !== '') onOther(line);
      continue;
    }
    journals.set(source, [...(journals.get(source) ?? []), entry!]);
  }
  const histories = [...journals.values()].map((lines) => readHistory(lines.filter((line) => line !== '')));
  const first =
    histories.find(({ place }) => place?.rank === 0) ??
    histories.sort((one, other) => other.findings.length - one.findings.length)[0];
  if (first === undefined || first.report !== undefined) return first;
  // All ranks begin with the same requests, and that of another rank may have ended the job before this one had begun.
  const guilty = [first, ...histories].find(
    ({ running }) => running !== undefined && running.lines.length > 0 && !/^(ENV|PORT)/.test(running.rule),
  );
  return { ...first, running: guilty?.running ?? first.running };
}

/** Whether rank 0 has ended its checks. */
export function hasReport(folder: string): boolean {
  return readJournals(folder, '', () => undefined)?.report !== undefined;
}

function readHistory(lines: readonly string[]): RankHistory {
  const history = {
    place: undefined as Place | undefined,
    findings: [] as Finding[],
    running: undefined as { rule: string; lines: string[] } | undefined,
    report: undefined as RankReport | undefined,
  };
  for (const line of lines) {
    let entry: Entry;
    try {
      entry = JSON.parse(line) as Entry;
    } catch {
      // The rank was ended while it wrote it, or is writing it.
      break;
    }
    if ('place' in entry) history.place = entry.place;
    else if ('begin' in entry) history.running = { rule: entry.begin, lines: [] };
    else if ('line' in entry) history.running?.lines.push(entry.line);
    else if ('report' in entry) history.report = entry.report;
    else {
      history.findings.push(entry.finding);
      if (history.running?.rule === entry.finding.rule) history.running = undefined;
    }
  }
  return history;
}
