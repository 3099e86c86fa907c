/** The report: one HTML file that needs no network and no script. */
import { figureLines, milliseconds, times, titleOf } from './lines.mjs';
import { AGAIN, type Figure } from './measure.mjs';
import { modelLines, treeName } from './fence-model.mjs';
import { modelPlot, ratioPlot, timePlot } from './plots.mjs';
import type { Report } from './run.mjs';
import { median, medianInterval } from './statistics.mjs';

const style = `
:root { color-scheme: light dark; --ground: #fff; --text: #222; --faint: #666; --grid: #ddd; --block: #f5f5f5 }
@media (prefers-color-scheme: dark) {
  :root { --ground: #181a1b; --text: #e6e6e6; --faint: #a8a8a8; --grid: #3a3d3f; --block: #232628 }
}
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60em; margin: 0 auto; padding: 1em; color: var(--text);
  background: var(--ground) }
pre { background: var(--block); padding: 1em }
pre, .scroll { overflow-x: auto }
figure { margin: 1.5em 0 }
svg { max-width: 100%; height: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .15em .7em; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--grid) }
th:first-child, td:first-child { text-align: left }
tbody th { padding-top: 1em; text-align: left }`;

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** Groups figures by a key. Groups and figures keep their order. */
function groupsOf(figures: readonly Figure[], keyOf: (figure: Figure) => string): [string, Figure[]][] {
  const groups = new Map<string, Figure[]>();
  for (const figure of figures) groups.set(keyOf(figure), [...(groups.get(keyOf(figure)) ?? []), figure]);
  return [...groups];
}

const heads = ['launcher', 'time', '95 % interval', 'times the floor', 'wireup takes of it', 'turns'];

/** A row for each launcher of a figure, below the figure's title. */
function tableRows(figure: Figure): string {
  const rows = Object.entries(figure.series).map(([name, { milliseconds: values }]) => {
    const [low, high] = medianInterval(values);
    const ratio = figure.toFloor[name]?.time;
    const peer = figure.toPeer[name];
    const cells = [
      name === AGAIN ? `${name} (noise)` : name,
      milliseconds(median(values)),
      low === null || high === null
        ? 'none: fewer than 6 turns'
        : `${milliseconds(low)} to ${milliseconds(high)}`,
      ratio === undefined ? '' : times(ratio),
      peer === undefined ? '' : times(peer),
      `${values.length}`,
    ];
    return `<tr>${cells.map((cell) => `<td>${escaped(cell)}</td>`).join('')}</tr>`;
  });
  const title = `<tr><th scope="rowgroup" colspan="${heads.length}">${escaped(titleOf(figure))}</th></tr>`;
  return `<tbody>${title}${rows.join('')}</tbody>`;
}

/** The plots of the model, with the measured processor times of roots. */
function modelPlots({ figures, model }: Report): string[] {
  if (model === undefined) return [];
  const roots = figures.flatMap(({ ranks, tree, puts, series }) =>
    tree === undefined || puts !== true || series.wireup?.nodes === undefined
      ? []
      : [{ hosts: ranks, tree, ns: median(series.wireup.nodes.rootNs) }],
  );
  const { latencyNs, bytesPerNs } = model.link;
  return [
    modelPlot(
      'Model: the time of a fence over many hosts',
      `Each host puts 128 bytes. Links of ${latencyNs / 1000} us and ${bytesPerNs * 8} Gbit/s, a processor for each agent.`,
      model,
      ({ wallNs }) => wallNs,
      [],
    ),
    modelPlot(
      "Model: the root's processor time for a fence",
      'Each host puts 128 bytes. Lines are the model, dots are measured.',
      model,
      ({ root }) => root.processorNs,
      roots,
    ),
  ];
}

/** Figures with one plot. */
const titleOfPlot = ({ what, pmi, tree, puts }: Figure): string => {
  if (tree !== undefined) return `${what}, ${treeName(tree)}, ${puts ? 'a put each' : 'no puts'}`;
  return pmi === undefined ? what : `${what} over ${pmi}`;
};

export function htmlReport(page: Report): string {
  const { version, machine, begun, pairs, figures, growth, failures, model } = page;
  const timePlots = groupsOf(figures, titleOfPlot).map(([title, group]) =>
    timePlot(`${title}: the time of a round`, group),
  );
  const compared = figures.filter(({ toFloor }) => Object.keys(toFloor).length > 0);
  const ratios = groupsOf(compared, (figure) =>
    figure.what === 'fence' ? titleOfPlot(figure) : figure.what,
  ).map(([what, group]) => ratioPlot(`${what}: the time in units of the floor's`, group));
  const grown = growth.map(
    ({ what, pmi, exponent }) =>
      `${what}${pmi === undefined ? '' : `, ${pmi}`}: a rank's share of wireup's time grows as N^${exponent.toFixed(2)}`,
  );
  const plots = [...modelPlots(page), ...ratios, ...timePlots].map((svg) => `<figure>${svg}</figure>`);
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>wireup bench</title><style>${style}
</style></head>
<body>
<h1>wireup bench</h1>
<p>wireup ${escaped(version)}, Node ${machine.node}, Linux ${escaped(machine.kernel)}, ${machine.cpus} x ${escaped(machine.cpu || machine.arch)}; ${begun}.</p>
<p>Medians of ${pairs} turns. A ratio is the median of the ratios of each turn, with its 95&nbsp;% interval. The floor is
a plain loop that does no more than it must: canned answers on the same sockets, posix_spawn and waiting, or a tree of processes that send the same bytes over libzmq. <i>floor again</i> is the same program in the same turn: its distance from 1 is the noise.</p>
${failures.length === 0 ? '' : `<p>Failed:</p><ul>${failures.map((line) => `<li>${escaped(line)}</li>`).join('')}</ul>`}
${plots.join('\n')}
<div class="scroll"><table>
<caption>All times and ratios</caption>
<thead><tr>${heads.map((head) => `<th scope="col">${head}</th>`).join('')}</tr></thead>
${figures.map(tableRows).join('\n')}
</table></div>
<pre>${escaped([...figures.flatMap(figureLines), ...grown, ...(model === undefined ? [] : modelLines(model))].join('\n'))}</pre>
</body>
</html>
`;
}
