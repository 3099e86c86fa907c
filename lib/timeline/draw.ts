/**
 * Draws a timeline as SVG. Horizontal positions are percentages, so that a page can give the plot any width while its text and
 * its lines keep their size.
 */
import {
  milliseconds,
  spreadOf,
  type GroupLines,
  type HostLines,
  type Moment,
  type Phase,
  type RankLine,
  type TimelineModel,
} from './model';
import type { Messages } from './messages';

/** With more ranks, the plot has bands of all ranks and of each host, and rows for the worst ranks only. */
export const MAX_ROWS = 100;
/** With more hosts, those whose ranks came last have a row. */
const MAX_HOSTS = 40;
/** Spawned process groups that have a row beside bands. */
const MAX_GROUPS = 40;
/** Barriers that have a band. */
const MAX_BARRIERS = 16;
/** Messages that are drawn. More would be a grey area, and each takes a hundred bytes. */
export const MAX_MESSAGES = 2000;

const ROW = 17;
const BAR = 11;
const AXIS = 22;
const MAX_LABEL = 14;
const TICKS = 5;

/** Names of the classes, for the legend. */
export const legend: readonly (readonly [kind: string, text: string])[] = [
  ['start', 'before init'],
  ['run', 'between init and finalize'],
  ['barrier', 'in a barrier'],
  ['end', 'after finalize'],
];

export const legendOfLines: readonly (readonly [kind: string, text: string])[] = [
  ['path', 'came last to the first barrier'],
  ['fail', 'failure'],
];

/** The colours of Okabe and Ito, which colour-blind readers can distinguish; lighter on a dark ground. */
export const colours = `
:root { --ground: #fff; --text: #222; --faint: #767676; --grid: #ddd; --start: #e69f00; --run: #0072b2; --barrier: #cc79a7;
  --end: #999; --fail: #c03000; --path: #000 }
@media (prefers-color-scheme: dark) {
  :root { --ground: #181a1b; --text: #e6e6e6; --faint: #a0a0a0; --grid: #3a3d3f; --start: #e6a520; --run: #4fa8dc;
    --barrier: #d98fb8; --end: #8a8a8a; --fail: #ff7a45; --path: #fff }
}`;

export const plotStyle = `
.plot text, .labels text { font: 11px system-ui, sans-serif; fill: var(--text) }
.plot .tick, .labels .faint { fill: var(--faint) }
.plot .grid { stroke: var(--grid) }
.start { fill: var(--start); background: var(--start) }
.run { fill: var(--run); background: var(--run) }
.barrier { fill: var(--barrier); background: var(--barrier) }
.end { fill: var(--end); background: var(--end) }
.fail { fill: var(--fail); background: var(--fail) }
.band { opacity: .45 }
.median { stroke: var(--text); stroke-width: 2 }
.path { fill: none; stroke: var(--path); stroke-width: 2 }
.release { stroke: var(--path); stroke-dasharray: 3 3 }
.message { fill: var(--text) }
.message.error { fill: var(--fail) }`;

export function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

interface Row {
  label: string;
  /** Only a heading. */
  heading?: boolean;
  title: string;
  /** The content of the row, whose top is at `y`. */
  draw?: (y: number) => string;
}

/** The two parts of a drawing, both of `height` pixels. */
export interface Drawing {
  labels: string;
  plot: string;
  height: number;
  rows: number;
}

/** Times at which the axis has a tick, in steps of 1, 2 or 5 times a power of ten. */
export function ticksOf(end: number): number[] {
  const least = end / TICKS;
  const power = 10 ** Math.floor(Math.log10(least));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= least)!;
  return Array.from({ length: Math.floor(end / step + 1e-9) + 1 }, (_, i) => i * step);
}

export function draw(model: TimelineModel, messages?: Messages): Drawing {
  const end = model.end || 1;
  const x = (time: number): string => `${((100 * Math.min(time, end)) / end).toFixed(3)}%`;
  const rows = rowsOf(model, x, messages);
  const height = AXIS + rows.length * ROW + 2;
  const unit = end >= 2000 ? { divisor: 1000, name: 's' } : { divisor: 1, name: 'ms' };
  const grid = ticksOf(end).map((time) => {
    // A label at the right edge would be cut off.
    const anchor = time === 0 ? 'start' : time > 0.93 * end ? 'end' : 'middle';
    const text = `${Number((time / unit.divisor).toPrecision(6))} ${unit.name}`;
    return (
      `<line class="grid" x1="${x(time)}" x2="${x(time)}" y1="${AXIS - 4}" y2="${height}"/>` +
      `<text class="tick" x="${x(time)}" y="${AXIS - 9}" text-anchor="${anchor}">${text}</text>`
    );
  });
  const released = model.result.barriers.times[0];
  const release =
    released === undefined
      ? ''
      : `<g><title>the first barrier completes after ${milliseconds(released)}</title><line class="release" x1="${x(released)}" x2="${x(released)}" y1="${AXIS - 4}" y2="${height}"/></g>`;
  const parts = rows.map(({ title, draw: content }, i) =>
    content === undefined ? '' : `<g><title>${escaped(title)}</title>${content(AXIS + i * ROW)}</g>`,
  );
  const labels = rows.map(({ label, heading, title }, i) => {
    const shown = label.length > MAX_LABEL ? `${label.slice(0, MAX_LABEL - 1)}…` : label;
    return `<text class="${heading ? 'faint' : 'name'}" x="100%" y="${AXIS + i * ROW + BAR}" text-anchor="end"><title>${escaped(title)}</title>${escaped(shown)}</text>`;
  });
  return {
    labels: labels.join('\n'),
    plot: [...grid, ...parts, release].join('\n'),
    height,
    rows: rows.length,
  };
}

type X = (time: number) => string;

function rowsOf(model: TimelineModel, x: X, messages: Messages | undefined): Row[] {
  if (model.size > MAX_ROWS) return bandRows(model, x);
  const several = model.hosts.length > 1;
  return [
    ...model.hosts.flatMap(({ host, lines }) => [
      ...(several ? [heading(host, `host ${host}`)] : []),
      ...lines.map((line) => rankRow(line, model, x, messages)),
    ]),
    ...model.groups.flatMap(({ group, title, hosts }) =>
      hosts.flatMap(({ host, lines }, i) => [
        ...(i === 0 ? [heading(`spawned ${group}`, title)] : []),
        ...(hosts.length > 1 ? [heading(host, `host ${host}`)] : []),
        ...lines.map((line) => rankRow(line, model, x, undefined)),
      ]),
    ),
  ];
}

const heading = (label: string, title: string): Row => ({ label, title, heading: true });

function bandRows(model: TimelineModel, x: X): Row[] {
  const hosts = latestHosts(model);
  return [
    heading(
      'all ranks',
      `${model.result.ranks.length} ranks: from the first rank to the last, and the median`,
    ),
    ...model.moments
      .filter(({ name }) => !(Number(/^enters barrier (\d+)$/.exec(name)?.[1] ?? 0) >= MAX_BARRIERS))
      .map((moment) => bandRow(moment, x)),
    ...(model.hosts.length === 1
      ? []
      : [
          heading(
            hosts.length < model.hosts.length ? `${hosts.length} of ${model.hosts.length} hosts` : 'hosts',
            'each host: init, the first barrier, and the exit',
          ),
          ...hosts.map((host) => hostRow(host, model, x)),
        ]),
    ...(model.groups.length === 0 ? [] : [heading('spawned', 'each spawned process group, as a host')]),
    ...model.groups.slice(0, MAX_GROUPS).map((group) => groupRow(group, x)),
    heading('worst ranks', 'the ranks that differ most from the others'),
    ...model.worst.map((line) => rankRow(line, model, x, undefined)),
  ];
}

/** The hosts that have a row: those of the ranks that came last, in their order. */
function latestHosts({ hosts, moments }: TimelineModel): HostLines[] {
  if (hosts.length <= MAX_HOSTS) return hosts;
  const first = moments.find(({ name }) => name === 'enters barrier 0') ?? moments[0];
  const times = new Map(first?.times.map(({ rank, time }) => [rank, time]));
  const latest = ({ lines }: HostLines): number =>
    Math.max(...lines.map(({ rank }) => times.get(rank) ?? Infinity));
  const shown = new Set([...hosts].sort((a, b) => latest(b) - latest(a)).slice(0, MAX_HOSTS));
  return hosts.filter((host) => shown.has(host));
}

/** Which colour a moment has: that of the phase that it begins. */
function classOf(name: string): string {
  if (name === 'started') return 'start';
  if (name === 'connected' || name === 'init') return 'run';
  return name.startsWith('enters') ? 'barrier' : 'end';
}

function band(moment: Moment, x: X, y: number, height: number): string {
  const spread = spreadOf(moment);
  if (spread === undefined) return '';
  const { min, median, max } = spread;
  return (
    `<rect class="${classOf(moment.name)} band" x="${x(min)}" y="${y}" width="${x(max - min)}" height="${height}"/>` +
    // A band may be narrower than a pixel.
    `<line class="median" x1="${x(median)}" x2="${x(median)}" y1="${y}" y2="${y + height}"/>`
  );
}

function describeSpread(moment: Moment): string {
  const { count, min, median, max, last } = spreadOf(moment)!;
  return `${moment.name}: ${count} ranks, first ${milliseconds(min)}, median ${milliseconds(median)}, last ${milliseconds(max)} (rank ${last})`;
}

function bandRow(moment: Moment, x: X): Row {
  return {
    label: moment.name.replace('enters ', ''),
    title: describeSpread(moment),
    draw: (y) => band(moment, x, y + 2, BAR),
  };
}

function hostRow({ host, lines }: HostLines, { moments }: TimelineModel, x: X): Row {
  const ranks = new Set(lines.map(({ rank }) => rank));
  const own = moments.map(({ name, times }) => ({
    name,
    times: times.filter(({ rank }) => ranks.has(rank)),
  }));
  return thinRow(host, `host ${host}`, own, x);
}

const groupRow = ({ group, title, moments }: GroupLines, x: X): Row =>
  thinRow(`group ${group}`, title, moments, x);

/** Three thin bands. */
function thinRow(label: string, title: string, moments: readonly Moment[], x: X): Row {
  const shown = ['init', 'enters barrier 0', 'exit'].flatMap((name) =>
    moments.filter((moment) => moment.name === name && moment.times.length > 0),
  );
  return {
    label,
    title: [title, ...shown.map(describeSpread)].join('\n'),
    draw: (y) => shown.map((moment, i) => band(moment, x, y + 1 + 5 * i, 4)).join(''),
  };
}

export function describePhase({ kind, from, to, barrier, incomplete }: Phase): string {
  const name =
    kind === 'barrier'
      ? `barrier ${barrier}${incomplete ? ', which did not complete' : ''}`
      : legend.find(([each]) => each === kind)![1];
  return `${name}: ${milliseconds(from)} to ${milliseconds(to)}`;
}

function rankRow(line: RankLine, model: TimelineModel, x: X, messages: Messages | undefined): Row {
  const { rank, label, host, phases, failedAt } = line;
  const first = phases.find(({ barrier }) => barrier === 0);
  const isLast = model.last === line && first !== undefined;
  const bars = (y: number): string =>
    phases
      .map(
        ({ kind, from, to }) =>
          `<rect class="${kind}" x="${x(from)}" y="${y + 2}" width="${x(to - from)}" height="${BAR}"/>`,
      )
      .join('');
  return {
    label: `rank ${label}`,
    title: [
      `rank ${label} on ${host}`,
      ...phases.map(describePhase),
      ...(failedAt === undefined ? [] : [`failed at ${milliseconds(failedAt)}`]),
    ].join('\n'),
    draw: (y) =>
      bars(y) +
      (messages?.of(rank) ?? [])
        .map(
          ({ at, name, error }) =>
            `<rect class="message${error ? ' error' : ''}" x="${x(at)}" y="${y + BAR - 2}" width="1" height="4"><title>${escaped(name)}, ${milliseconds(at)}</title></rect>`,
        )
        .join('') +
      (isLast
        ? `<rect class="path" x="${x(phases[0]!.from)}" y="${y + 1}" width="${x(first.to - phases[0]!.from)}" height="${BAR + 2}"/>`
        : '') +
      (failedAt === undefined
        ? ''
        : `<svg x="${x(failedAt)}" y="${y}" width="1" height="1" overflow="visible"><path class="fail" d="M-5 0H5L0 9Z"/></svg>`),
  };
}

/** Breaks a text into lines of about `width` characters. */
function wrapped(text: string, width: number): string[] {
  return text.split(' ').reduce<string[]>((lines, word) => {
    const last = lines.at(-1);
    if (last === undefined || last.length + word.length >= width) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
    return lines;
  }, []);
}

const WIDTH = 960;
const GUTTER = 112;
const LINE = 16;

/** A file of its own. */
export function svgDocument(model: TimelineModel, title: string, messages?: Messages): string {
  const { labels, plot, height } = draw(model, messages);
  const text = model.findings.flatMap((finding) => wrapped(finding, 135));
  const top = 46 + LINE * text.length;
  const total = top + height + 30;
  let at = GUTTER;
  const keys = [...legend, ...legendOfLines].map(([kind, name]) => {
    const key = `<rect class="${kind}" x="${at}" y="${total - 20}" width="10" height="10"/><text x="${at + 15}" y="${total - 11}">${name}</text>`;
    at += 34 + 6 * name.length;
    return key;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${total}" width="${WIDTH}" height="${total}" role="img" aria-labelledby="title desc">
<title id="title">${escaped(title)}</title>
<desc id="desc">${escaped(model.findings.join(' '))}</desc>
<style>${colours}${plotStyle}
.text text { font: 12px system-ui, sans-serif; fill: var(--text) } .text .title { font-size: 16px; font-weight: 600 }
</style>
<rect width="100%" height="100%" style="fill: var(--ground)"/>
<g class="text"><text class="title" x="14" y="26">${escaped(title)}</text>
${text.map((line, i) => `<text x="14" y="${46 + LINE * i}">${escaped(line)}</text>`).join('\n')}
</g>
<svg class="labels" y="${top}" width="${GUTTER - 8}" height="${height}">
${labels}
</svg>
<svg class="plot" x="${GUTTER}" y="${top}" width="${WIDTH - GUTTER - 16}" height="${height}" overflow="visible">
${plot}
</svg>
<g class="plot">${keys.join('\n')}</g>
</svg>
`;
}
