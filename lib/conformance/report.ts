/** Reports of checks: for people, as TAP 14, as JSON. */
import type { Finding, Status } from './finding';
import { themes, ruleOf } from './rules';

export interface Report {
  /** What was checked, for people: `server, PMI-1.1 over PMI_FD, 4 ranks`. */
  readonly subject: string;
  readonly findings: readonly Finding[];
}

export type Format = 'table' | 'tap' | 'json';

export function format(report: Report, as: Format): string {
  if (as === 'json') return `${JSON.stringify(report)}\n`;
  return as === 'tap' ? tap(report) : table(report);
}

const titles: Readonly<Record<Status, string>> = {
  passed: 'passed',
  failed: 'FAILED',
  'not-offered': 'not offered',
  'not-tried': 'not tried',
};

const indent = ' '.repeat(13);

function table({ subject, findings }: Report): string {
  const parts = themes.flatMap(({ title, rules }) => {
    const rows = rules.flatMap(({ id }) => findings.filter(({ rule }) => rule === id));
    return rows.length === 0 ? [] : [[title, ...rows.flatMap(rowsOf)].join('\n')];
  });
  return `${subject}\n\n${parts.join('\n\n')}\n\n${summary(findings)}\n`;
}

function rowsOf({ rule, status, reason, lines = [] }: Finding): string[] {
  const { level, text, document, paragraph } = ruleOf(rule);
  const why =
    status === 'failed' ? [`${document}, ${paragraph}: ${reason}`] : reason === undefined ? [] : [reason];
  return [
    `${titles[status].padEnd(indent.length)}${level.padEnd(8)}${rule.padEnd(16)}${text}`,
    ...[...why, ...(status === 'failed' ? lines.map((line) => `  ${line}`) : [])].map(
      (line) => indent + line,
    ),
  ];
}

/** `40 passed, 1 failed (P1-GET-3), 2 not offered, 3 not tried`. */
function summary(findings: readonly Finding[]): string {
  const parts = (Object.keys(titles) as Status[]).flatMap((status) => {
    const rules = findings.filter((finding) => finding.status === status).map(({ rule }) => rule);
    if (rules.length === 0 && status !== 'failed') return [];
    const which = status === 'failed' && rules.length > 0 ? ` (${rules.join(', ')})` : '';
    return [`${rules.length} ${titles[status].toLowerCase()}${which}`];
  });
  return parts.join(', ');
}

/** TAP 14: a broken SHOULD is a TODO, which does not fail the run. */
function tap({ subject, findings }: Report): string {
  const points = findings.flatMap(({ rule, status, reason, lines = [] }, i) => {
    const { level, text, document, paragraph } = ruleOf(rule);
    const point = `${i + 1} - ${rule} ${text.replaceAll('#', '\\#')}`;
    if (status === 'passed') return [`ok ${point}`];
    if (status !== 'failed') return [`ok ${point} # SKIP ${titles[status]}: ${reason}`];
    const yaml = { level, document, paragraph, reason, lines };
    return [
      `not ok ${point}${level === 'MUST' ? '' : ` # TODO ${level}`}`,
      '  ---',
      ...Object.entries(yaml).map(([name, value]) => `  ${name}: ${JSON.stringify(value)}`),
      '  ...',
    ];
  });
  return ['TAP version 14', `1..${findings.length}`, `# ${subject}`, ...points, ''].join('\n');
}
