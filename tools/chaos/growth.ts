// The assessment of a soak: whether a measured quantity grows faster than its bound.
import type { Check } from './check.ts';
import { blockMinima, linearTrend, type Sample } from './linear-trend.ts';
import { table } from './report.ts';

/** `bound`: allowed growth per hour. `minRise`: a smaller rise is normal variation of a run without growth. */
const quantities = {
  memory: { unit: 'MB', bound: 60, minRise: 30 },
  // After a full garbage collection.
  'live heap': { unit: 'MB', bound: 10, minRise: 3 },
  'metric series': { unit: 'lines', bound: 400, minRise: 200 },
  handles: { unit: 'open', bound: 40, minRise: 20 },
  'outbox waiting': { unit: 'rows', bound: 200, minRise: 50 },
  'oldest published': { unit: 's', bound: 60, minRise: 15 },
  // The rows published within the retention time: they follow the rate of requests, which depends on the machine.
  'outbox kept': { unit: 'rows', bound: Number.POSITIVE_INFINITY, minRise: 0 },
  'outbox table': { unit: 'MB', bound: 10, minRise: 2 },
  queue: { unit: 'ready', bound: 200, minRise: 50 },
  'dead letters': { unit: 'ready', bound: 0, minRise: 0 },
} as const;
export type Quantity = keyof typeof quantities;

/** The samples of one quantity of one process, service or queue. */
export interface Series {
  /** The name of that process, service or queue. */
  subject: string;
  quantity: Quantity;
  samples: Sample[];
}

export interface Measure {
  name: string;
  unit: string;
  /** Number of samples after the warm-up. */
  samples: number;
  /** At the end of the warm-up. */
  start: number;
  /** At the end of the run. */
  end: number;
  /** In the whole run, including the warm-up. */
  max: number;
  perHour: number;
  /** Standard error of `perHour`. */
  error: number;
  bound: number;
  assessment: 'flat' | 'unproven' | 'GROWS' | 'not assessed';
}

const blockSeconds = 30;

/**
 * Assesses the samples after the warm-up by the minimum of every half minute. Heaps and pools vary, and only what is
 * never released raises their minimum. GROWS: the slope minus three standard errors exceeds the bound, and the rise
 * exceeds `minRise`. Flat: the slope plus two standard errors does not exceed the bound. Otherwise unproven.
 */
export function assessSeries({ subject, quantity, samples }: Series, warmUpSeconds: number): Measure {
  const { unit, bound, minRise } = quantities[quantity];
  const assessed = samples.filter(({ at }) => at >= warmUpSeconds);
  const { perHour, error } = linearTrend(blockMinima(assessed, blockSeconds));
  const [first, last] = [assessed[0], assessed.at(-1)];
  const hours = ((last?.at ?? 0) - (first?.at ?? 0)) / 3_600;
  const isGrowing = perHour - 3 * error > bound && perHour * hours > minRise;
  const isFlat = perHour + 2 * error <= bound;
  const assessment = isGrowing ? 'GROWS' : isFlat ? 'flat' : 'unproven';
  return {
    name: `${subject} ${quantity}`,
    unit,
    samples: assessed.length,
    start: first?.value ?? Number.NaN,
    end: last?.value ?? Number.NaN,
    max: Math.max(...samples.map(({ value }) => value)),
    ...{ perHour, error, bound },
    assessment: Number.isFinite(bound) ? assessment : 'not assessed',
  };
}

export function checkGrowth(measures: readonly Measure[]): Check {
  const growing = measures.filter(({ assessment }) => assessment === 'GROWS');
  return {
    promise: 'nothing grows beyond its bound',
    examined: `${measures.length} quantities, ${measures[0]?.samples ?? 0} samples each`,
    breaches: growing.map(({ name, unit, perHour }) => `${name}: ${perHour.toFixed(1)} ${unit} per hour`),
  };
}

export function printMeasures(measures: readonly Measure[], print: (line: string) => void): void {
  const format = (value: number): string => (Number.isFinite(value) ? value.toFixed(1) : '-');
  print('\nGrowth per hour after the warm-up: the slope of the line through the minima of every half minute, ± its');
  print('standard error. GROWS: the slope minus three errors exceeds the bound, and the rise exceeds the normal');
  print('variation of the quantity. Flat: the slope plus two errors does not exceed the bound.');
  const rows = measures.map(({ name, unit, start, end, max, perHour, error, bound, assessment }) => [
    name,
    unit,
    ...[start, end, max, perHour].map(format),
    `± ${format(error)}`,
    format(bound),
    assessment,
  ]);
  const heads = ['quantity', 'unit', 'start', 'end', 'max', 'per hour', 'error', 'bound', 'assessment'];
  for (const line of table(heads, rows, 2)) print(line);
}
