import { doublingScale, linearScale, logScale, percentileScale, type Scale } from './scales.js';

export interface PlotPoint {
  x: number;
  y: number;
  /** Ends of an error bar. */
  low?: number;
  high?: number;
}

export interface PlotSeries {
  label: string;
  points: PlotPoint[];
  /** Index into the palette; the same server has the same colour in every plot. */
  color: number;
}

export type AxisKind = 'linear' | 'log' | 'doubling' | 'percentile';

export interface LinePlot {
  title: string;
  xLabel: string;
  yLabel: string;
  xAxis: AxisKind;
  yAxis: AxisKind;
  series: PlotSeries[];
  /** Dots on the points; for sweeps, not for curves. */
  showPoints?: boolean;
  /** A dashed line from corner to corner where y = x, when that is what perfection looks like. */
  showIdentity?: boolean;
}

export interface BarPlot {
  title: string;
  yLabel: string;
  groups: string[];
  series: {
    label: string;
    color: number;
    values: { y: number; low?: number; high?: number; text: string }[];
  }[];
}

export const palette = ['#2563eb', '#ea7317', '#c9a227', '#b5446e', '#2a9d6f', '#8b8f98', '#9d4edd'];

const width = 720;
const height = 396;
const frame = { left: 64, right: 20, top: 92, bottom: 52 };
const plotRight = width - frame.right;
const plotBottom = height - frame.bottom;

/** Both modes of the reader's screen; the variables are local to each picture. */
const style = `
.cl-plot{font-family:ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;--ink:#1c2430;--soft:#5d6778;--grid:#e6e9ef;--paper:#fff}
@media (prefers-color-scheme:dark){.cl-plot{--ink:#e8ecf3;--soft:#9aa5b8;--grid:#2c3442;--paper:#161b22}}
.cl-plot .paper{fill:var(--paper)}.cl-plot .title{font-size:15px;font-weight:650;fill:var(--ink)}
.cl-plot .axis,.cl-plot .legend{font-size:12px;fill:var(--soft)}.cl-plot .legend{fill:var(--ink)}
.cl-plot .value{font-size:11px;fill:var(--ink);font-weight:600}.cl-plot .grid{stroke:var(--grid)}.cl-plot .base{stroke:var(--soft);stroke-opacity:.6}`;

/** A complete SVG document with lines; empty series are left out. */
export function renderLinePlot(plot: LinePlot): string {
  const series = plot.series.filter(({ points }) => points.length > 0);
  const all = series.flatMap(({ points }) => points);
  const x = makeScale(
    plot.xAxis,
    all.map((point) => point.x),
    [frame.left, plotRight],
  );
  const y = makeScale(
    plot.yAxis,
    all.flatMap((point) => [point.y, point.high ?? point.y]),
    [plotBottom, frame.top],
  );
  const identity = plot.showIdentity ? identityLine(all, x, y) : '';
  return document([
    heading(plot.title),
    legend(series),
    gridLines(x, y),
    axisLabels(plot.xLabel, plot.yLabel),
    identity,
    // The first server is drawn last, on top.
    ...[...series].reverse().map((each) => renderSeries(each, x, y, plot.showPoints ?? false)),
  ]);
}

export function renderBarPlot(plot: BarPlot): string {
  const values = plot.series
    .flatMap((each) => each.values.map(({ y, high }) => high ?? y))
    .filter(Number.isFinite);
  const y = makeScale('linear', values, [plotBottom, frame.top]);
  const groupWidth = (plotRight - frame.left) / plot.groups.length;
  const barWidth = Math.min(56, (groupWidth * 0.76) / plot.series.length);
  const none: Scale = { toPixel: () => 0, ticks: [] };
  const names = plot.groups.map((name, group) =>
    text(name, frame.left + groupWidth * (group + 0.5), plotBottom + 20, 'axis', 'middle'),
  );
  const bars = plot.series.flatMap((each, index) =>
    each.values.map((value, group) => {
      const center = frame.left + groupWidth * (group + 0.5);
      const left = center + (index - plot.series.length / 2) * barWidth;
      return renderBar(value, left, barWidth, y, each.color);
    }),
  );
  return document([
    heading(plot.title),
    legend(plot.series),
    gridLines(none, y),
    axisLabels('', plot.yLabel),
    ...names,
    ...bars,
  ]);
}

function makeScale(kind: AxisKind, values: number[], range: [number, number]): Scale {
  if (kind === 'percentile') return percentileScale(range);
  const low = Math.min(...values);
  const high = Math.max(...values);
  if (!Number.isFinite(low)) return linearScale([0, 1], range);
  if (kind === 'linear') return linearScale([0, high * 1.06 || 1], range);
  if (kind === 'doubling') return doublingScale([low, Math.max(high, low + 1)], range);
  return logScale([Math.max(low * 0.85, 1e-3), Math.max(high * 1.15, low * 2)], range);
}

function renderSeries(series: PlotSeries, x: Scale, y: Scale, showPoints: boolean): string {
  const color = colorOf(series.color);
  const place = (point: PlotPoint): string => `${round(x.toPixel(point.x))},${round(y.toPixel(point.y))}`;
  const path = `<polyline points="${series.points.map(place).join(' ')}" fill="none" stroke="${color}" stroke-width="${series.color === 0 ? 3 : 2}" stroke-linejoin="round" stroke-linecap="round"/>`;
  const bars = series.points.map((point) => errorBar(point, x.toPixel(point.x), y, color));
  const dots = showPoints
    ? series.points.map(
        (point) =>
          `<circle cx="${round(x.toPixel(point.x))}" cy="${round(y.toPixel(point.y))}" r="3.6" fill="${color}"><title>${escapeXml(`${series.label}: ${round(point.y)} at ${round(point.x)}`)}</title></circle>`,
      )
    : [];
  return [path, ...bars, ...dots].join('');
}

function renderBar(
  value: { y: number; low?: number; high?: number; text: string },
  left: number,
  barWidth: number,
  y: Scale,
  color: number,
): string {
  const center = left + barWidth / 2;
  if (!Number.isFinite(value.y)) return text('n/a', center, plotBottom - 6, 'axis', 'middle');
  const top = y.toPixel(value.y);
  const labelAt = y.toPixel(Math.max(value.y, value.high ?? value.y)) - 6;
  return (
    `<rect x="${round(left + 2)}" y="${round(top)}" width="${round(barWidth - 4)}" height="${round(plotBottom - top)}" rx="3" fill="${colorOf(color)}"/>` +
    errorBar({ x: 0, ...value }, center, y, 'var(--ink)') +
    text(value.text, center, labelAt, 'value', 'middle')
  );
}

function errorBar(point: PlotPoint, atX: number, y: Scale, color: string): string {
  if (point.low === undefined || point.high === undefined) return '';
  const [top, bottom] = [round(y.toPixel(point.high)), round(Math.min(plotBottom, y.toPixel(point.low)))];
  const x = round(atX);
  return `<path d="M${x} ${top}V${bottom}M${x - 4} ${top}h8M${x - 4} ${bottom}h8" stroke="${color}" stroke-width="1.4" fill="none" opacity=".75"/>`;
}

function identityLine(points: PlotPoint[], x: Scale, y: Scale): string {
  const end = Math.min(
    Math.max(...points.map((point) => point.x)),
    Math.max(...points.map((point) => point.y)) * 1.05,
  );
  const from = `${round(x.toPixel(0))} ${round(y.toPixel(0))}`;
  return `<path d="M${from}L${round(x.toPixel(end))} ${round(y.toPixel(end))}" class="base" stroke-dasharray="4 4" fill="none"/>`;
}

function gridLines(x: Scale, y: Scale): string {
  const rows = y.ticks.map(({ value, text: label }) => {
    const at = round(y.toPixel(value));
    return `<path class="grid" d="M${frame.left} ${at}H${plotRight}"/>${text(label, frame.left - 8, at + 4, 'axis', 'end')}`;
  });
  const columns = x.ticks.map(({ value, text: label }) => {
    const at = round(x.toPixel(value));
    return `<path class="grid" d="M${at} ${frame.top}V${plotBottom}"/>${text(label, at, plotBottom + 18, 'axis', 'middle')}`;
  });
  return [...rows, ...columns, `<path class="base" d="M${frame.left} ${plotBottom}H${plotRight}"/>`].join('');
}

function axisLabels(xLabel: string, yLabel: string): string {
  const bottom = text(xLabel, (frame.left + plotRight) / 2, height - 12, 'axis', 'middle');
  return bottom + text(yLabel, 12, frame.top - 12, 'axis', 'start');
}

function heading(title: string): string {
  return text(title, 12, 24, 'title', 'start');
}

/** One line of names, two when they do not fit. */
function legend(series: readonly { label: string; color: number }[]): string {
  let left = 12;
  let top = 36;
  return series
    .map(({ label, color }) => {
      const entryWidth = 18 + label.length * 6.6;
      if (left + entryWidth > width - 8) [left, top] = [12, top + 17];
      const entry =
        `<rect x="${round(left)}" y="${top}" width="12" height="12" rx="3" fill="${colorOf(color)}"/>` +
        text(label, left + 18, top + 10, 'legend', 'start');
      left += entryWidth + 14;
      return entry;
    })
    .join('');
}

function document(parts: string[]): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" class="cl-plot" viewBox="0 0 ${width} ${height}" role="img"><style>${style}</style><rect class="paper" width="${width}" height="${height}" rx="10"/>${parts.join('')}</svg>`;
}

function text(content: string, x: number, y: number, className: string, anchor: string): string {
  return `<text x="${round(x)}" y="${round(y)}" class="${className}" text-anchor="${anchor}">${escapeXml(content)}</text>`;
}

function colorOf(index: number): string {
  return palette[index % palette.length] as string;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

export function escapeXml(content: string): string {
  return content.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');
}
