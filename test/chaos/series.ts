/** Is a series of measurements flat? And how it looks. */

export interface Point {
  readonly atMs: number;
  readonly value: number;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/**
 * Growth per millisecond: the median of the slopes between every two points (Theil and Sen), which a sawtooth of garbage collections, or a
 * single peak, does not move.
 */
export function slope(points: readonly Point[]): number {
  const slopes: number[] = [];
  for (let i = 0; i < points.length; i++)
    for (let j = i + 1; j < points.length; j++)
      slopes.push((points[j]!.value - points[i]!.value) / (points[j]!.atMs - points[i]!.atMs));
  return slopes.length === 0 ? 0 : median(slopes);
}

export interface Flatness {
  readonly first: number;
  readonly medianOfHalf: number;
  readonly max: number;
  /** By the slope of the second half, over that half. */
  readonly growth: number;
  readonly allowed: number;
  readonly flat: boolean;
}

/** Judges the second half of a series: it may grow by `share` of its median and `slack` on top. */
export function flatness(points: readonly Point[], share: number, slack: number): Flatness {
  if (points.length < 4) throw new Error(`${points.length} measurements are too few to judge`);
  const middleMs = (points[0]!.atMs + points.at(-1)!.atMs) / 2;
  const half = points.filter(({ atMs }) => atMs >= middleMs);
  const medianOfHalf = median(half.map(({ value }) => value));
  const growth = slope(half) * (half.at(-1)!.atMs - half[0]!.atMs);
  const allowed = medianOfHalf * share + slack;
  return {
    first: points[0]!.value,
    medianOfHalf,
    max: Math.max(...points.map(({ value }) => value)),
    growth,
    allowed,
    flat: growth <= allowed,
  };
}

const BARS = '▁▂▃▄▅▆▇█';

/** One character for each of `width` stretches of time, from 0 to the series' maximum. */
export function chart(points: readonly Point[], width = 60): string {
  const max = Math.max(...points.map(({ value }) => value));
  const columns = Math.min(width, points.length);
  return Array.from({ length: columns }, (_, column) => {
    const from = Math.floor((column * points.length) / columns);
    const to = Math.floor(((column + 1) * points.length) / columns);
    const value = median(points.slice(from, to).map((point) => point.value));
    return BARS[Math.min(BARS.length - 1, Math.floor((value / max) * BARS.length))];
  }).join('');
}
