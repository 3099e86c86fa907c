/** The results of checks. */
import { printable } from '../printable';
import { ruleOf } from './rules';

/**
 * not-offered: the peer does not have this optional feature. not-tried: the check could not run, or runs only by request.
 */
export type Status = 'passed' | 'failed' | 'not-offered' | 'not-tried';

export interface Finding {
  readonly rule: string;
  readonly status: Status;
  /** Why; always there if the status is not `passed`. */
  readonly reason?: string;
  /** failed: the lines that show it, as `C: ...` and `S: ...`. */
  readonly lines?: readonly string[];
}

/** A peer has broken the rule that is being checked. */
export class Violation extends Error {
  constructor(
    reason: string,
    /** The lines that show it, if they are not those since the check began. */
    readonly lines?: readonly string[],
  ) {
    super(reason);
  }
}

/** The peer does not have an optional feature. */
export class NotOffered extends Error {}

/** The check cannot run. */
export class NotTried extends Error {}

/** No reply has come: in time, or before the end of the connection. */
export class NoReply extends Error {}

/** The most lines that a transcript keeps, many more than the checks need. */
const MAX_TRANSCRIPT = 100_000;

/** The most characters of a message that a transcript keeps. */
const MAX_LINE = 160;

/** The messages that have crossed, for people. */
export class Transcript {
  readonly #lines: string[] = [];
  readonly #onLine: (line: string) => void;

  constructor(onLine: (line: string) => void = () => undefined) {
    this.#onLine = onLine;
  }

  get length(): number {
    return this.#lines.length;
  }

  /** @param side C: from the client, S: from the server */
  add(side: 'C' | 'S', text: string): void {
    const more = text.length - MAX_LINE;
    const shown = more > 0 ? `${text.slice(0, MAX_LINE)}... (${more} more)` : text;
    const line = `${side}: ${printable(hideSecrets(shown))}`;
    if (this.#lines.length < MAX_TRANSCRIPT) this.#lines.push(line);
    this.#onLine(line);
  }

  since(begin: number): string[] {
    return this.#lines.slice(begin);
  }
}

/** A PMI_ID is the secret of its rank. */
function hideSecrets(text: string): string {
  if (!/\b(initack|fullinit)\b/.test(text)) return text;
  return text.replace(/\b(pmiid|pmirank|srcid)=[^ ;]+/g, '$1=***');
}

/** The most lines of one finding. */
const MAX_LINES = 12;

/** Learns of checks as they happen, because a check may end this process. */
export interface CheckObserver {
  onBegin(rule: string): void;
  onFinding(finding: Finding): void;
}

/** The last lines of those that show a fault. */
export function shorten(lines: readonly string[]): readonly string[] {
  const left = lines.length - MAX_LINES;
  const last = lines.slice(-MAX_LINES);
  return left > 0 ? [`... ${left} lines before`, ...last] : last;
}

/** Runs checks one after another, and keeps their results. */
export class Findings {
  readonly #findings = new Map<string, Finding>();
  readonly #transcript: Transcript;
  readonly #observer: CheckObserver | undefined;
  readonly #skipped: readonly string[];
  #lost: string | undefined;
  #lostBy: string | undefined;

  /** @param skipped rules whose checks have ended earlier jobs */
  constructor(transcript: Transcript, observer?: CheckObserver, skipped: readonly string[] = []) {
    this.#transcript = transcript;
    this.#observer = observer;
    this.#skipped = skipped;
  }

  get list(): Finding[] {
    return [...this.#findings.values()];
  }

  /** Why no further check can run; undefined: they can. */
  get lost(): string | undefined {
    return this.#lost;
  }

  /** The rule whose check has ended the connection. */
  get lostBy(): string | undefined {
    return this.#lostBy;
  }

  passed(rule: string): boolean {
    return this.#findings.get(rule)?.status === 'passed';
  }

  add(finding: Finding): void {
    this.#findings.set(finding.rule, finding);
    this.#observer?.onFinding(finding);
  }

  /**
   * Checks one rule. `work` returns if the rule is kept.
   *
   * @param needs rules without which the check would only repeat their failure
   */
  async check(rule: string, needs: readonly string[], work: () => Promise<void>): Promise<void> {
    const missing = needs.find((need) => !this.passed(need));
    if (this.#lost !== undefined || missing !== undefined) {
      const because =
        this.#lost ??
        (this.#findings.get(missing!)?.status === 'not-offered' ? undefined : `it needs ${missing}`);
      return this.add(
        because === undefined
          ? { rule, status: 'not-offered', reason: this.#findings.get(missing!)!.reason! }
          : { rule, status: 'not-tried', reason: because },
      );
    }
    if (this.#skipped.includes(rule))
      return this.add({ rule, status: 'not-tried', reason: 'it has ended the job before' });
    const begin = this.#transcript.length;
    this.#observer?.onBegin(rule);
    try {
      await work();
      this.add({ rule, status: 'passed' });
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      if (error instanceof NotOffered)
        return this.add({ rule, status: 'not-offered', reason: error.message });
      if (error instanceof NotTried) return this.add({ rule, status: 'not-tried', reason: error.message });
      if (error instanceof NoReply) {
        this.#lost = `after ${rule} the connection cannot be used`;
        this.#lostBy = rule;
      } else if (!(error instanceof Violation)) throw error;
      const lines = error instanceof Violation ? error.lines : undefined;
      this.fail(rule, error.message, lines ?? this.#transcript.since(begin));
    }
  }

  /** A MAY is never broken: the peer then does not offer it. */
  fail(rule: string, reason: string, lines: readonly string[]): void {
    const shown = shorten(lines);
    const status = ruleOf(rule).level === 'MAY' ? 'not-offered' : 'failed';
    this.add({ rule, status, reason: printable(reason), lines: shown });
  }
}

/** The worst of the findings about a rule, from several runs. */
export function merge(findings: readonly Finding[]): Finding[] {
  const order: readonly Status[] = ['not-tried', 'not-offered', 'passed', 'failed'];
  const byRule = new Map<string, Finding>();
  for (const finding of findings) {
    const known = byRule.get(finding.rule);
    if (known === undefined || order.indexOf(finding.status) > order.indexOf(known.status))
      byRule.set(finding.rule, finding);
  }
  return [...byRule.values()];
}

/** Whether a rule of the level MUST is broken. */
export function breaksMust(findings: readonly Finding[]): boolean {
  return findings.some(({ rule, status }) => status === 'failed' && ruleOf(rule).level === 'MUST');
}
