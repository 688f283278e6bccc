// The linear trend of a measured quantity: the slope of the least-squares line and its standard error.

export interface Sample {
  /** Seconds since the start of the run. */
  at: number;
  value: number;
}

export interface Trend {
  /** Slope, in units of the quantity per hour. */
  perHour: number;
  /** Standard error of `perHour`; infinite with fewer than 5 samples. */
  error: number;
}

/**
 * Consecutive samples of a process are correlated. So the textbook's standard error, which assumes independent
 * samples, is widened: its square by (1 + r) / (1 - r), where r is the lag-1 autocorrelation of the residuals.
 */
export function linearTrend(samples: readonly Sample[]): Trend {
  const count = samples.length;
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / count;
  const meanTime = mean(samples.map(({ at }) => at));
  const meanValue = mean(samples.map(({ value }) => value));
  const timeSquares = samples.reduce((sum, { at }) => sum + (at - meanTime) ** 2, 0);
  if (count < 5 || timeSquares === 0) return { perHour: 0, error: Number.POSITIVE_INFINITY };
  const slope = samples.reduce((sum, { at, value }) => sum + (at - meanTime) * (value - meanValue), 0) / timeSquares;
  const residuals = samples.map(({ at, value }) => value - meanValue - slope * (at - meanTime));
  const residualSquares = residuals.reduce((sum, residual) => sum + residual ** 2, 0);
  const lagged = residuals.slice(1).reduce((sum, residual, index) => sum + residual * (residuals[index] ?? 0), 0);
  const correlation = residualSquares === 0 ? 0 : Math.min(0.98, Math.max(0, lagged / residualSquares));
  const variance = (residualSquares / (count - 2) / timeSquares) * ((1 + correlation) / (1 - correlation));
  return { perHour: slope * 3_600, error: Math.sqrt(variance) * 3_600 };
}

/** Reduces every block of `seconds` to its minimum, placed at the middle of the block. */
export function blockMinima(samples: readonly Sample[], seconds: number): Sample[] {
  const blocks = Map.groupBy(samples, ({ at }) => Math.floor(at / seconds));
  return [...blocks].map(([block, values]) => ({
    at: (block + 0.5) * seconds,
    value: Math.min(...values.map(({ value }) => value)),
  }));
}
