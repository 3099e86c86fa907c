/** A timeline as an HTML page that needs no other file, no network and no script. */
import { colours, draw, escaped, legend, legendOfLines, MAX_MESSAGES, MAX_ROWS, plotStyle } from './draw';
import type { Messages } from './messages';
import { enteredAt, milliseconds, spreadOf, type RankLine, type TimelineModel } from './model';

const style = `${colours}${plotStyle}
:root { color-scheme: light dark }
body { margin: 0 auto; max-width: 1500px; padding: 1rem; background: var(--ground); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 1.4rem; margin: 0; overflow-wrap: anywhere }
h2 { font-size: 1.1rem; margin: 1.5rem 0 .3rem }
p, li { overflow-wrap: anywhere }
.about, figcaption { color: var(--faint) }
figure { margin: 1rem 0 0; display: grid; grid-template-columns: 6rem minmax(0, 1fr); gap: 0 .5rem }
figcaption { grid-column: 1 / 3; font-size: .9rem }
svg { display: block; width: 100% }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; padding: 0; list-style: none; margin: .4rem 0 }
.legend i { display: inline-block; width: .8em; height: .8em; margin-right: .4em }
.legend i.path { border: 2px solid var(--path); box-sizing: border-box }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .15rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--grid) }
th { font-weight: 600 }
th:first-child, td:first-child, .text { text-align: left }`;

/** A time with all of its digits for programs, and the digits that a reader needs. */
const cell = (time: number | undefined): string =>
  time === undefined ? '<td>–</td>' : `<td><data value="${time}">${milliseconds(time)}</data></td>`;

function table(id: string, heads: readonly string[], rows: readonly string[]): string {
  return `<div class="scroll"><table id="${id}">
<thead><tr>${heads.map((head) => `<th scope="col">${head}</th>`).join('')}</tr></thead>
<tbody>
${rows.join('\n')}
</tbody></table></div>`;
}

function momentsTable({ moments }: TimelineModel): string {
  const rows = moments.map((moment) => {
    const { count, min, median, max, last } = spreadOf(moment)!;
    return `<tr><td>${moment.name}</td><td>${count}</td>${[min, median, max].map(cell).join('')}<td>${last}</td></tr>`;
  });
  return table('moments', ['moment', 'ranks', 'first', 'median', 'last', 'last rank'], rows);
}

function rankRow({ label, host, failedAt, result: row }: RankLine): string {
  const { times, cpu, code, signal, state } = row;
  const used = cpu && cpu.user + cpu.system;
  const end = signal ?? (code === undefined ? '–' : `exit ${code}`);
  return (
    `<tr data-rank="${label}"><td>${label}</td><td class="text">${escaped(host)}</td>` +
    [
      times.started,
      times.connected,
      times.initialized,
      enteredAt(row, 0),
      times.finalized,
      times.exited,
      used,
    ]
      .map(cell)
      .join('') +
    `<td class="text">${escaped(state)}</td><td class="text">${escaped(end)}${row.ended ? ', ended by wireup' : ''}${failedAt === undefined ? '' : ', failed'}</td></tr>`
  );
}

const rankHeads = [
  'rank',
  'host',
  'started',
  'connected',
  'init',
  'enters barrier 0',
  'finalize',
  'exit',
  'processor time',
  'PMI state',
  'end',
];

/** @param title what has run: escaped here */
export function htmlPage(model: TimelineModel, title: string, messages?: Messages): string {
  const { result, findings, hosts, groups, worst } = model;
  const few = model.size <= MAX_ROWS;
  const { labels, plot, height } = draw(model, messages);
  const keys = [...legend, ...legendOfLines].map(([kind, text]) => `<li><i class="${kind}"></i>${text}</li>`);
  const shown = few
    ? `One row for each rank. The pointer on a row shows its times.${groups.length > 0 ? ' Rank 1.0 is rank 0 of process group 1, which a rank has spawned.' : ''}`
    : 'Bands reach from the first rank to the last, with a line at the median. The pointer on a row shows its figures.';
  const drawn =
    messages === undefined || !few
      ? ''
      : messages.count > MAX_MESSAGES
        ? ` Small marks are the first ${MAX_MESSAGES} of ${messages.count} requests of the recording; a timeline in a .json file has all of them.`
        : ` Small marks are the ${messages.count} requests of the recording.`;
  const all = [...hosts, ...groups.flatMap((group) => group.hosts)];
  const listed = few ? all.flatMap(({ lines }) => lines) : worst;
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title><style>${style}
</style></head>
<body>
<h1>${escaped(title)}</h1>
<p class="about">${new Date(result.begun).toISOString()}; ${milliseconds(result.duration)}; exit code ${result.exitCode}; ${result.barriers.count} barriers</p>
${findings.length === 0 ? '' : `<ul id="findings">\n${findings.map((text) => `<li>${escaped(text)}</li>`).join('\n')}\n</ul>`}
<ul class="legend">${keys.join('')}</ul>
<figure>
<svg class="labels" height="${height}" aria-hidden="true">
${labels}
</svg>
<svg class="plot" height="${height}" role="img" aria-label="When each rank was in which phase; the tables below have the figures">
${plot}
</svg>
<figcaption>Time since the launch. ${shown}${drawn}</figcaption>
</figure>
<h2>All ${groups.length > 0 ? 'launched ' : ''}ranks</h2>
${momentsTable(model)}
<h2>${few ? 'Each rank' : `The ${worst.length} worst ranks`}</h2>
${few ? '' : '<p class="about">Those that failed, those that others waited for, and those that came last to the first barrier.</p>'}
${table('ranks', rankHeads, listed.map(rankRow))}
</body>
</html>
`;
}
