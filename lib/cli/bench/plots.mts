/** The plots of a report, as SVG. */
import { CustomChart, LineChart } from 'echarts/charts';
import { GridComponent, LegendComponent, MarkLineComponent, TitleComponent } from 'echarts/components';
import { init, use, type EChartsCoreOption } from 'echarts/core';
import { SVGRenderer } from 'echarts/renderers';
import { treeName, type FenceModel, type Simulated } from './fence-model.mjs';
import { AGAIN, type Figure } from './measure.mjs';
import { median, medianInterval, type Ratio } from './statistics.mjs';

use([CustomChart, GridComponent, LegendComponent, LineChart, MarkLineComponent, SVGRenderer, TitleComponent]);

/** The width at which GitHub shows a README, so that its text keeps its size. */
const WIDTH = 760;
const HEIGHT = 380;

/**
 * The colours of Okabe and Ito, which colour-blind readers can distinguish, one for each launcher in every plot. The SVG has
 * variables in their place, with the second colour on a dark ground.
 */
const launchers = {
  floor: ['#767676', '#a0a0a0'],
  wireup: ['#0072b2', '#4fa8dc'],
  'mpiexec.hydra': ['#d55e00', '#ff8a45'],
  srun: ['#009e73', '#2cc795'],
  flux: ['#b0568c', '#dd92bd'],
  [AGAIN]: ['#999998', '#8a8a8a'],
  'floor, CURVE': ['#8c6d1f', '#d8b354'],
  'wireup, ZeroMQ': ['#56b4e9', '#8fd0f5'],
  'wireup, CURVE': ['#cc79a7', '#e8a9cb'],
} as const satisfies Record<string, readonly [light: string, dark: string]>;
type LauncherName = keyof typeof launchers;
const names = Object.keys(launchers) as LauncherName[];

const TEXT = '#222221';
const FAINT = '#666665';
const GRID = '#dddddc';
const GROUND = '#fffffe';

/** Each colour of a plot, and the one in its place on a dark ground. */
const dark: readonly (readonly [light: string, dark: string])[] = [
  [TEXT, '#e6e6e6'],
  [FAINT, '#a8a8a8'],
  [GRID, '#3a3d3f'],
  [GROUND, '#181a1b'],
  ...Object.values(launchers),
];

const variable = (i: number): string => `--plot-${i}`;

/** The colours of all plots, for the page and for an SVG file of its own. */
const colours = ((): string => {
  const values = (at: 0 | 1): string => dark.map((pair, i) => `${variable(i)}: ${pair[at]}`).join('; ');
  return `:root { ${values(0)} } @media (prefers-color-scheme: dark) { :root { ${values(1)} } }`;
})();

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

function draw(title: string, note: string, option: EChartsCoreOption, height: number): string {
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: WIDTH, height });
  chart.setOption({
    animation: false,
    backgroundColor: GROUND,
    textStyle: { color: TEXT, fontFamily: 'system-ui, sans-serif' },
    title: {
      text: title,
      subtext: note,
      left: 8,
      textStyle: { fontSize: 15, color: TEXT },
      subtextStyle: { color: FAINT, fontSize: 12 },
    },
    ...option,
  });
  const svg = chart.renderToSVGString();
  chart.dispose();
  const themed = dark.reduce(
    (text, [light], i) => text.replaceAll(new RegExp(light, 'gi'), `var(${variable(i)})`),
    svg,
  );
  const about = `${title}. ${note}`;
  return themed.replace(
    /<svg ([^>]*)>/,
    (_, attributes: string) =>
      `<svg role="img" aria-label="${escaped(about)}" ${attributes}>\n<title>${escaped(about)}</title><style>${colours}</style>`,
  );
}

const axis = {
  axisLine: { onZero: false, lineStyle: { color: FAINT } },
  axisLabel: { color: TEXT, fontSize: 12 },
  nameTextStyle: { color: TEXT, fontSize: 12 },
  minorTick: { show: false },
};

/** Numbers of the form 1, 2 or 5 times a power of ten that are in a range. */
function roundNumbers(low: number, high: number): number[] {
  const first = Math.floor(Math.log10(low));
  const powers = Array.from({ length: Math.ceil(Math.log10(high)) - first + 1 }, (_, i) => first + i);
  const all = powers.flatMap((power) => [1, 2, 5].map((factor) => Number(`${factor}e${power}`)));
  return all.filter((value) => value >= low && value <= high);
}

const isShown = (figures: readonly Figure[], name: string): boolean =>
  figures.some(({ series }) => series[name] !== undefined);

interface RenderApi {
  value: (dimension: number) => number;
  coord: (point: [number, number]) => [number, number];
}

interface RenderedLine {
  x1: number;
  y1: number;
  x2: number;
  y2: number;
}

const line = (colour: string, shape: RenderedLine): object => ({
  type: 'line',
  shape,
  style: { stroke: colour, lineWidth: 2 },
});

const NO_INTERVAL = 'Without an interval: fewer than 6 turns.';

/** Milliseconds against the number of ranks, both logarithmic, with a line for each launcher and its intervals. */
export function timePlot(title: string, figures: readonly Figure[]): string {
  const shown = names.filter((name) => name !== AGAIN && isShown(figures, name));
  const points = shown.map((name) =>
    figures.flatMap(({ ranks, series }) => {
      const values = series[name]?.milliseconds;
      if (values === undefined) return [];
      const [low, high] = medianInterval(values);
      return [{ ranks, median: median(values), low, high }];
    }),
  );
  const all = points.flat();
  const times = all.flatMap(({ median: middle, low, high }) => [middle, low ?? middle, high ?? middle]);
  const [least, most] = [Math.min(...times) / 1.25, Math.max(...times) * 1.25];
  const ranks = [...new Set(figures.map((figure) => figure.ranks))].sort((a, b) => a - b);
  const note = `Less is better. Medians; bars are their 95 % intervals. ${all.some(({ low }) => low === null) ? NO_INTERVAL : ''}`;
  return draw(
    title,
    note.trim(),
    {
      legend: { bottom: 0, itemGap: 24, data: shown, textStyle: { color: TEXT } },
      grid: { left: 60, right: 30, top: 70, bottom: 74 },
      xAxis: {
        ...axis,
        type: 'log',
        logBase: 2,
        name: figures[0]?.what === 'fence' ? 'hosts' : 'ranks',
        nameLocation: 'middle',
        nameGap: 28,
        // A single number of ranks stands in the middle.
        min: ranks[0]! / 1.2,
        max: ranks.at(-1)! * 1.2,
        axisTick: { customValues: ranks },
        axisLabel: { ...axis.axisLabel, customValues: ranks },
        splitLine: { show: false },
      },
      yAxis: {
        ...axis,
        type: 'log',
        name: 'ms',
        nameLocation: 'middle',
        nameGap: 42,
        min: least,
        max: most,
        axisTick: { customValues: roundNumbers(least, most) },
        axisLabel: { ...axis.axisLabel, customValues: roundNumbers(least, most), formatter: String },
        splitLine: { show: false },
      },
      series: shown.flatMap((name, i) => {
        const [colour] = launchers[name];
        return [
          {
            type: 'line',
            name,
            color: colour,
            symbol: 'circle',
            symbolSize: 7,
            data: points[i]!.map((point) => [point.ranks, point.median]),
          },
          {
            type: 'custom',
            name,
            itemStyle: { color: colour },
            encode: { x: 0, y: [1, 2] },
            renderItem: (_: unknown, api: RenderApi) => {
              const [x, bottom] = api.coord([api.value(0), api.value(1)]);
              const [, top] = api.coord([api.value(0), api.value(2)]);
              return {
                type: 'group',
                children: [
                  line(colour, { x1: x, y1: bottom, x2: x, y2: top }),
                  ...[bottom, top].map((y) => line(colour, { x1: x - 4, y1: y, x2: x + 4, y2: y })),
                ],
              };
            },
            data: points[i]!.flatMap((point) =>
              point.low === null ? [] : [[point.ranks, point.low, point.high]],
            ),
          },
        ];
      }),
    },
    HEIGHT,
  );
}

const ROW = 20;
const GAP = 0.9;

/** A whisker from `low` to `high`, and a dot at the median. */
function whisker(colour: string) {
  return (_: unknown, api: RenderApi) => {
    const [low, y] = api.coord([api.value(0), api.value(3)]);
    const [middle] = api.coord([api.value(1), api.value(3)]);
    const [high] = api.coord([api.value(2), api.value(3)]);
    return {
      type: 'group',
      children: [
        line(colour, { x1: low, y1: y, x2: high, y2: y }),
        { type: 'circle', shape: { cx: middle, cy: y, r: 4.5 }, style: { fill: colour } },
      ],
    };
  };
}

/**
 * The ratio of the time to that of the floor, with its interval: a group of rows for each figure, a row in it for each
 * launcher.
 */
export function ratioPlot(title: string, figures: readonly Figure[]): string {
  const rows: { name: LauncherName; time: Ratio; y: number }[] = [];
  const groups: { label: string; y: number }[] = [];
  let y = 0;
  for (const figure of figures) {
    const own = names.flatMap((name): { name: LauncherName; time: Ratio }[] => {
      const time = figure.toFloor[name]?.time;
      return time === undefined ? [] : [{ name, time }];
    });
    groups.push({
      label: [figure.pmi, `${figure.ranks} ${figure.what === 'fence' ? 'hosts' : 'ranks'}`]
        .filter(Boolean)
        .join(', '),
      y: y + (own.length - 1) / 2,
    });
    for (const row of own) rows.push({ ...row, y: y++ });
    y += GAP;
  }
  const last = y - GAP;
  const ends = rows.flatMap(({ time }) => [time.low ?? time.median, time.high ?? time.median]);
  const [least, most] = [Math.min(1, ...ends) / 1.1, Math.max(1, ...ends) * 1.1];
  const ticks = most / least > 4 ? roundNumbers(least, most) : roundRatios(least, most);
  const shown = names.filter((name) => rows.some((row) => row.name === name));
  const labels = new Map(groups.map((group) => [group.y, group.label]));
  const note = `Left is better. Dots are medians, lines their 95 % intervals. ${rows.some(({ time }) => time.low === null) ? NO_INTERVAL : ''}`;
  return draw(
    title,
    note.trim(),
    {
      legend: { bottom: 0, itemGap: 24, data: shown, textStyle: { color: TEXT } },
      grid: { left: 130, right: 30, top: 84, bottom: 76 },
      xAxis: {
        ...axis,
        type: 'log',
        position: 'bottom',
        name: 'times the floor, logarithmic',
        nameLocation: 'middle',
        nameGap: 28,
        min: least,
        max: most,
        axisTick: { customValues: ticks },
        axisLabel: { ...axis.axisLabel, customValues: ticks, formatter: String },
        splitLine: { show: false },
      },
      yAxis: {
        ...axis,
        type: 'value',
        inverse: true,
        min: -0.7,
        max: last - 0.3,
        axisTick: { show: false },
        axisLabel: {
          ...axis.axisLabel,
          customValues: [...labels.keys()],
          formatter: (value: number) => labels.get(value) ?? '',
        },
        splitLine: { show: false },
      },
      series: shown.map((name, i) => ({
        type: 'custom',
        name,
        itemStyle: { color: launchers[name][0] },
        renderItem: whisker(launchers[name][0]),
        encode: { x: [0, 1, 2], y: 3 },
        data: rows
          .filter((row) => row.name === name)
          .map(({ time, y: at }) => [time.low ?? time.median, time.median, time.high ?? time.median, at]),
        ...(i > 0
          ? {}
          : {
              markLine: {
                silent: true,
                symbol: 'none',
                label: { formatter: 'the floor', color: FAINT, position: 'start', distance: 2 },
                lineStyle: { color: TEXT, type: 'solid', width: 1 },
                data: [{ xAxis: 1 }],
              },
            }),
      })),
    },
    160 + ROW * (last + 1),
  );
}

/** Ratios for the axis of a narrow range. */
function roundRatios(low: number, high: number): number[] {
  const step = high / low > 3 ? 0.5 : high / low > 1.7 ? 0.2 : 0.1;
  return Array.from({ length: Math.floor(high / step) + 1 }, (_, i) => Number((i * step).toFixed(1))).filter(
    (value) => value >= low && value <= high,
  );
}

/** A line for each tree. They are the first colours of the launchers. */
const treeColours = [launchers.wireup, launchers['mpiexec.hydra'], launchers.srun, launchers.flux] as const;

/** A logarithmic axis with ticks at these values only. */
function logAxis(name: string, nameGap: number, ticks: readonly number[]) {
  return {
    ...axis,
    type: 'log' as const,
    name,
    nameLocation: 'middle' as const,
    nameGap,
    axisTick: { customValues: [...ticks] },
    axisLabel: {
      ...axis.axisLabel,
      customValues: [...ticks],
      formatter: (value: number) => value.toLocaleString('en-US'),
    },
    splitLine: { show: false },
  };
}

/**
 * The model of a fence in which each rank puts a card: a time against the number of hosts, both logarithmic, with a line for
 * each tree, and dots for the measured points.
 */
export function modelPlot(
  title: string,
  note: string,
  { points }: FenceModel,
  timeOf: (point: Simulated) => number,
  measured: readonly { hosts: number; tree: number; ns: number }[],
): string {
  const full = points.filter(({ puts }) => puts);
  const trees = [...new Set(full.map(({ tree }) => tree))].slice(0, treeColours.length);
  const shown = full.filter(({ tree }) => trees.includes(tree));
  const times = [...shown.map(timeOf), ...measured.map(({ ns }) => ns)].map((ns) => ns / 1e6);
  const [least, most] = [Math.min(...times) / 1.5, Math.max(...times) * 1.5];
  const hosts = [...new Set(shown.map((point) => point.hosts))].sort((a, b) => a - b);
  const ticks = roundNumbers(least, most).filter((value) => /^[1.0]+$/.test(String(value)));
  return draw(
    title,
    note,
    {
      legend: { bottom: 0, itemGap: 24, data: trees.map(treeName), textStyle: { color: TEXT } },
      grid: { left: 76, right: 30, top: 70, bottom: 74 },
      xAxis: { ...logAxis('hosts', 28, hosts), min: hosts[0]! / 1.3, max: hosts.at(-1)! * 1.3 },
      yAxis: { ...logAxis('ms', 56, ticks), min: least, max: most },
      series: trees.flatMap((tree, i) => {
        const [colour] = treeColours[i]!;
        return [
          {
            type: 'line',
            name: treeName(tree),
            color: colour,
            symbol: 'none',
            data: shown
              .filter((point) => point.tree === tree)
              .map((point) => [point.hosts, timeOf(point) / 1e6]),
          },
          {
            type: 'line',
            name: treeName(tree),
            color: colour,
            lineStyle: { width: 0 },
            symbol: 'circle',
            symbolSize: 8,
            data: measured
              .filter((point) => point.tree === tree)
              .map((point) => [point.hosts, point.ns / 1e6]),
          },
        ];
      }),
    },
    HEIGHT,
  );
}
