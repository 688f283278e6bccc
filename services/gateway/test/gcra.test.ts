// The algorithm of the rate limits, as functions of time.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  availableUnits,
  charge,
  type Policy,
  secondsPerUnit,
  secondsUntil,
  tolerance,
  unused,
} from '../src/rate-limit/gcra.ts';

const policies = fc.record({
  name: fc.constant('p'),
  quota: fc.integer({ min: 1, max: 5_000 }),
  windowSeconds: fc.integer({ min: 1, max: 3_600 }),
});
/** Seconds since the request before, as a multiple of the time of a unit, and the units that it asks for. */
const requests = fc.array(
  fc.record({ gap: fc.double({ min: 0, max: 40, noNaN: true }), units: fc.integer({ min: 1, max: 10 }) }),
  { minLength: 1, maxLength: 200 },
);

interface Admission {
  at: number;
  units: number;
}

/** What of the requests is admitted: all of a request's units, or none. */
function admissionsOf(policy: Policy, stream: readonly { gap: number; units: number }[], start = 0): Admission[] {
  let [now, tat] = [start, unused];
  return stream.flatMap(({ gap, units }) => {
    now += gap * secondsPerUnit(policy);
    if (availableUnits(policy, tat, now) < units) return [];
    tat = charge(policy, tat, { units, now });
    return { at: now, units };
  });
}

test('in any span of D seconds at most quota + D / T units are admitted', () => {
  fc.assert(
    fc.property(policies, requests, fc.constantFrom(0, 1_790_000_000), (policy, stream, start) => {
      const admitted = admissionsOf(policy, stream, start);
      for (const [first, { at: from }] of admitted.entries()) {
        let units = 0;
        for (const each of admitted.slice(first)) {
          units += each.units;
          const bound = policy.quota + (each.at - from) / secondsPerUnit(policy);
          expect(units).toBeLessThanOrEqual(bound + tolerance + 0.01);
        }
      }
    }),
  );
});

test('a caller that always has a request is given nearly all of that', () => {
  fc.assert(
    fc.property(policies, (policy) => {
      const steps = Array.from({ length: 300 }, () => ({ gap: 0.25, units: 1 }));
      const units = admissionsOf(policy, steps).length;
      expect(units).toBeGreaterThanOrEqual(Math.min(300, Math.floor(policy.quota + (299 * 0.25 - 1))));
    }),
  );
});

test('who is refused and waits for the time that was told is admitted, and not before', () => {
  fc.assert(
    fc.property(policies, requests, fc.integer({ min: 1, max: 10 }), (policy, stream, wanted) => {
      const units = Math.min(wanted, policy.quota);
      let [now, tat] = [0, unused];
      for (const each of stream) {
        now += each.gap * secondsPerUnit(policy);
        if (availableUnits(policy, tat, now) >= each.units) tat = charge(policy, tat, { units: each.units, now });
      }
      const wait = secondsUntil(policy, tat, { units, now });
      expect(availableUnits(policy, tat, now + wait)).toBeGreaterThanOrEqual(units);
      expect(availableUnits(policy, tat, now) >= units).toBe(wait === 0);
      const early = now + wait - 0.01 * secondsPerUnit(policy);
      if (early > now) expect(availableUnits(policy, tat, early)).toBeLessThan(units);
    }),
  );
});

describe('a bucket', () => {
  const policy = { name: 'p', quota: 50, windowSeconds: 1 };

  test('that was never used has its quota, and no more after a long time', () => {
    expect(availableUnits(policy, unused, 0)).toBe(50);
    expect(availableUnits(policy, 5, 1_000_000)).toBe(50);
  });

  test.each([1, 7, 49, 50, 99, 333, 4_999, 1_000_000])('has a quota of %d exactly', (quota) => {
    for (const windowSeconds of [1, 7, 60, 3_600]) {
      const odd = { name: 'p', quota, windowSeconds };
      expect(availableUnits(odd, unused, 1_790_000_000.123)).toBe(quota);
      const tat = charge(odd, unused, { units: quota, now: 1_790_000_000.123 });
      expect(availableUnits(odd, tat, 1_790_000_000.123)).toBe(0);
    }
  });

  test('gives the quota at the end of a second and not again at the beginning of the next', () => {
    const tat = charge(policy, unused, { units: 50, now: 0.99 });
    expect(availableUnits(policy, tat, 1.01)).toBe(1);
    expect(availableUnits(policy, tat, 1.99)).toBe(50);
  });
});
