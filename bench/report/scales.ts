/** Axes: a mapping from data to pixels, and where its ticks go. */
export interface Scale {
  toPixel: (value: number) => number;
  ticks: { value: number; text: string }[];
}

export function linearScale(domain: [number, number], range: [number, number], aboutTicks = 5): Scale {
  const [low, high] = domain;
  const span = high - low || 1;
  const step = niceStep(span / aboutTicks);
  const ticks: Scale['ticks'] = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-6; value += step) {
    ticks.push({ value, text: tickText(Number(value.toPrecision(10))) });
  }
  return { toPixel: (value) => range[0] + ((value - low) / span) * (range[1] - range[0]), ticks };
}

/** Ticks at 1, 2 and 5 of each decade, or at the decades alone when there are many. */
export function logScale(domain: [number, number], range: [number, number]): Scale {
  const [low, high] = domain.map((value) => Math.log10(Math.max(value, 1e-6))) as [number, number];
  const span = high - low || 1;
  const steps = span > 3 ? [1] : [1, 2, 5];
  const ticks: Scale['ticks'] = [];
  for (let decade = Math.floor(low); decade <= Math.ceil(high); decade += 1) {
    for (const step of steps) {
      const value = step * 10 ** decade;
      if (value >= domain[0] * 0.999 && value <= domain[1] * 1.001)
        ticks.push({ value, text: tickText(value) });
    }
  }
  return {
    toPixel: (value) => range[0] + ((Math.log10(Math.max(value, 1e-6)) - low) / span) * (range[1] - range[0]),
    ticks,
  };
}

/** Powers of two, for numbers of clients. */
export function doublingScale(domain: [number, number], range: [number, number]): Scale {
  const { toPixel } = logScale(domain, range);
  const ticks: Scale['ticks'] = [];
  for (let value = 1; value <= domain[1]; value *= 2)
    if (value >= domain[0]) ticks.push({ value, text: String(value) });
  return { toPixel, ticks };
}

/** Percentiles with every further nine as wide as the last, so that the tail can be seen (as HdrHistogram plots). */
export function percentileScale(range: [number, number]): Scale {
  const highest = 3.5;
  const position = (fraction: number): number => Math.min(-Math.log10(Math.max(1 - fraction, 1e-9)), highest);
  const marks: [number, string][] = [
    [0, '0'],
    [0.5, 'p50'],
    [0.9, 'p90'],
    [0.99, 'p99'],
    [0.999, 'p99.9'],
    [1, 'max'],
  ];
  return {
    toPixel: (fraction) => range[0] + (position(fraction) / highest) * (range[1] - range[0]),
    ticks: marks.map(([value, text]) => ({ value, text })),
  };
}

function niceStep(rough: number): number {
  const magnitude = 10 ** Math.floor(Math.log10(rough));
  const residual = rough / magnitude;
  return (residual > 5 ? 10 : residual > 2 ? 5 : residual > 1 ? 2 : 1) * magnitude;
}

function tickText(value: number): string {
  return value >= 1000 ? value.toLocaleString('en-US') : String(Number(value.toPrecision(6)));
}
