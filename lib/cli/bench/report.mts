/** The report: one HTML file that needs no network and no script. */
import { figureLines } from './lines.mjs';
import type { Figure } from './measure.mjs';
import { ratioPlot, timePlot } from './plots.mjs';
import type { Report } from './run.mjs';

const style = `
body { font-family: system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222 }
pre { background: #f5f5f5; padding: 1em; overflow-x: auto }
svg { max-width: 100%; height: auto }`;

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** Groups figures by a key. Groups and figures keep their order. */
function groupsOf(figures: readonly Figure[], keyOf: (figure: Figure) => string): [string, Figure[]][] {
  const groups = new Map<string, Figure[]>();
  for (const figure of figures) groups.set(keyOf(figure), [...(groups.get(keyOf(figure)) ?? []), figure]);
  return [...groups];
}

export function htmlReport({ version, machine, begun, pairs, figures, growth }: Report): string {
  const times = groupsOf(figures, ({ what, pmi }) => (pmi === undefined ? what : `${what} over ${pmi}`)).map(
    ([title, group]) => timePlot(title, group),
  );
  const ratios = groupsOf(figures, ({ what }) => what).map(([what, group]) =>
    ratioPlot(`${what}: time in units of the floor's`, group),
  );
  const grown = growth.map(
    ({ what, pmi, exponent }) =>
      `${what}${pmi === undefined ? '' : `, ${pmi}`}: a rank's share of wireup's time grows as N^${exponent.toFixed(2)}`,
  );
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>wireup bench</title><style>${style}
</style></head>
<body>
<h1>wireup bench</h1>
<p>wireup ${escaped(version)}, Node ${machine.node}, Linux ${escaped(machine.kernel)}, ${machine.cpus} x ${escaped(machine.cpu || machine.arch)}; ${begun}.</p>
<p>Medians of ${pairs} turns. A ratio is the median of the ratios of each turn, with its 95&nbsp;% interval. The floor is
a plain loop that does no more than it must: canned answers on the same sockets, or posix_spawn and waiting. <i>floor again</i> is the same program in the same turn: its distance from 1 is the noise.</p>
${ratios.join('\n')}
${times.join('\n')}
<pre>${escaped([...figures.flatMap(figureLines), ...grown].join('\n'))}</pre>
</body>
</html>
`;
}
