// The generic cell rate algorithm (GCRA, ITU-T I.371): a token bucket whose whole state is one time, the theoretical
// arrival time (TAT). It is the moment at which the bucket is full again. With T = window / quota, in any span of D
// seconds at most quota + D / T units are granted. All times are seconds of one clock, whatever its origin.

/** `quota` units at once, and after that `quota` units per window, evenly. */
export interface Policy {
  readonly name: string;
  /** Units. The cost of a request in units: `costOf` in limit-rate.ts. */
  readonly quota: number;
  readonly windowSeconds: number;
}

/** The TAT of a bucket that was never used. */
export const unused = Number.NEGATIVE_INFINITY;

/** Units. Times are sums of fractions, so a unit that is short by less than this counts as whole. */
export const tolerance = 0.001;

/** T: in how many seconds one unit comes back. */
export function secondsPerUnit({ quota, windowSeconds }: Policy): number {
  return windowSeconds / quota;
}

/** Whole units that can be granted at `now`: from 0 to the quota. */
export function availableUnits({ quota, windowSeconds }: Policy, tat: number, now: number): number {
  const free = windowSeconds - Math.max(0, tat - now);
  return Math.max(0, Math.floor((free * quota) / windowSeconds + tolerance));
}

/** @returns the TAT after `units` were granted at `now` */
export function charge(policy: Policy, tat: number, { units, now }: { units: number; now: number }): number {
  return Math.max(tat, now) + units * secondsPerUnit(policy);
}

/** Seconds from `now` until `units` can be granted; 0 when they can be granted at once. */
export function secondsUntil(policy: Policy, tat: number, { units, now }: { units: number; now: number }): number {
  if (availableUnits(policy, tat, now) >= units) return 0;
  return Math.max(0, Math.max(tat, now) - now + units * secondsPerUnit(policy) - policy.windowSeconds);
}
