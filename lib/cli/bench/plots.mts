/** The plots of a report, as SVG. */
import { CustomChart, LineChart } from 'echarts/charts';
import { GridComponent, LegendComponent, MarkLineComponent, TitleComponent } from 'echarts/components';
import { init, use, type EChartsCoreOption } from 'echarts/core';
import { SVGRenderer } from 'echarts/renderers';
import { AGAIN, type Figure } from './measure.mjs';
import { median, type Ratio } from './statistics.mjs';

use([CustomChart, GridComponent, LegendComponent, LineChart, MarkLineComponent, SVGRenderer, TitleComponent]);

const WIDTH = 720;
const HEIGHT = 400;
/** One for each launcher in every plot, distinguishable by colour-blind readers (Okabe and Ito). */
const colours = ['#999999', '#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00'];
const names = ['floor', 'wireup', 'mpiexec.hydra', 'srun', 'flux', AGAIN];

function draw(option: EChartsCoreOption, height = HEIGHT): string {
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: WIDTH, height });
  chart.setOption({ animation: false, backgroundColor: '#fff', ...option });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}

/** Milliseconds against the number of ranks, both logarithmic, with one line for each launcher. */
export function timePlot(title: string, figures: readonly Figure[]): string {
  const shown = names.filter(
    (name) => name !== AGAIN && figures.some(({ series }) => series[name] !== undefined),
  );
  return draw({
    title: { text: title, left: 'center' },
    legend: { bottom: 0, data: shown },
    grid: { left: 70, right: 30, top: 50, bottom: 80 },
    xAxis: {
      type: 'log',
      logBase: 2,
      name: 'ranks',
      nameLocation: 'middle',
      nameGap: 28,
      min: 'dataMin',
      max: 'dataMax',
    },
    yAxis: { type: 'log', name: 'ms' },
    series: shown.map((name) => ({
      type: 'line',
      name,
      color: colours[names.indexOf(name)],
      symbolSize: 7,
      data: figures.flatMap(({ ranks, series }) =>
        series[name] === undefined ? [] : [[ranks, median(series[name].milliseconds)]],
      ),
    })),
  });
}

interface RenderApi {
  value: (dimension: number) => number;
  coord: (point: [number, number]) => [number, number];
}

/** A whisker from `low` to `high`, and a dot at the median. */
function whisker(colour: string) {
  return (_: unknown, api: RenderApi) => {
    const [low, y] = api.coord([api.value(0), api.value(3)]);
    const [middle] = api.coord([api.value(1), api.value(3)]);
    const [high] = api.coord([api.value(2), api.value(3)]);
    return {
      type: 'group',
      children: [
        { type: 'line', shape: { x1: low, y1: y, x2: high, y2: y }, style: { stroke: colour, lineWidth: 2 } },
        { type: 'circle', shape: { cx: middle, cy: y, r: 4 }, style: { fill: colour } },
      ],
    };
  };
}

/** The ratio of the time to that of the floor, with 95 % intervals, in one row for each figure and launcher. */
export function ratioPlot(title: string, figures: readonly Figure[]): string {
  const rows = figures.flatMap((figure) =>
    names.flatMap((name) => {
      const time: Ratio | undefined = figure.toFloor[name]?.time;
      return time === undefined
        ? []
        : [
            {
              label: `${[figure.pmi, `${figure.ranks} ranks`].filter(Boolean).join(', ')}: ${name}`,
              name,
              time,
            },
          ];
    }),
  );
  return draw(
    {
      title: { text: title, left: 'center' },
      grid: { left: 210, right: 30, top: 50, bottom: 50 },
      xAxis: { type: 'value', name: 'times the floor', nameLocation: 'middle', nameGap: 28, scale: true },
      yAxis: { type: 'category', inverse: true, data: rows.map(({ label }) => label) },
      series: names.map((name, i) => ({
        type: 'custom',
        name,
        renderItem: whisker(colours[i]!),
        encode: { x: [0, 1, 2], y: 3 },
        data: rows.flatMap((row, y) =>
          row.name === name
            ? [[row.time.low ?? row.time.median, row.time.median, row.time.high ?? row.time.median, y]]
            : [],
        ),
      })),
    },
    100 + 26 * rows.length,
  );
}
