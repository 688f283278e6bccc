// Whether a measured quantity grows: the least-squares line through its samples, and how far the line can be trusted.

export interface Sample {
  /** Seconds. */
  at: number;
  value: number;
}

export interface Trend {
  perHour: number;
  /** Standard error of `perHour`; infinite where there are too few samples to tell. */
  error: number;
}

/**
 * Samples of a process follow one another and are not independent: the error of the textbook is widened by what the
 * residuals' correlation of one sample with the next costs, (1 + r) / (1 - r).
 */
export function trendOf(samples: readonly Sample[]): Trend {
  const count = samples.length;
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / count;
  const middle = mean(samples.map(({ at }) => at));
  const level = mean(samples.map(({ value }) => value));
  const spread = samples.reduce((sum, { at }) => sum + (at - middle) ** 2, 0);
  if (count < 5 || spread === 0) return { perHour: 0, error: Number.POSITIVE_INFINITY };
  const slope = samples.reduce((sum, { at, value }) => sum + (at - middle) * (value - level), 0) / spread;
  const residuals = samples.map(({ at, value }) => value - level - slope * (at - middle));
  const squares = residuals.reduce((sum, residual) => sum + residual ** 2, 0);
  const neighbours = residuals.slice(1).reduce((sum, residual, index) => sum + residual * (residuals[index] ?? 0), 0);
  const correlation = squares === 0 ? 0 : Math.min(0.98, Math.max(0, neighbours / squares));
  const widened = (squares / (count - 2) / spread) * ((1 + correlation) / (1 - correlation));
  return { perHour: slope * 3_600, error: Math.sqrt(widened) * 3_600 };
}

/** The least value of every `seconds`. */
export function floorOf(samples: readonly Sample[], seconds: number): Sample[] {
  const blocks = Map.groupBy(samples, ({ at }) => Math.floor(at / seconds));
  return [...blocks].map(([block, values]) => ({
    at: (block + 0.5) * seconds,
    value: Math.min(...values.map(({ value }) => value)),
  }));
}
