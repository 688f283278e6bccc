// The promise: the assessment of a soak distinguishes growth from a warm-up and from normal variation.
import { describe, expect, test } from '@jest/globals';
import { seededRandom } from '../../../local/random.ts';
import { assessSeries } from '../growth.ts';
import type { Sample } from '../linear-trend.ts';

describe('the growth of a measured quantity', () => {
  const { next } = seededRandom(3);
  /** A sample every 5 s for 30 min: a warm-up of 10 min, a sawtooth, noise and a slope. */
  const memory = (perHour: number): Sample[] =>
    Array.from({ length: 360 }, (_, index) => {
      const at = index * 5;
      const warmUp = 60 * (1 - Math.exp(-at / 120));
      return { at, value: 100 + warmUp + (at % 90) / 10 + next() * 4 + (perHour * at) / 3_600 };
    });
  const assess = (samples: Sample[], warmUpSeconds = 600): string =>
    assessSeries({ subject: 'users-1', quantity: 'memory', samples }, warmUpSeconds).assessment;

  test('is flat after a warm-up with normal variation', () => {
    for (let run = 0; run < 20; run += 1) expect(assess(memory(0))).toBe('flat');
  });

  test('is reported for a leak', () => {
    for (let run = 0; run < 20; run += 1) expect(assess(memory(180))).toBe('GROWS');
  });

  test('is unproven after a few samples', () => {
    expect(assess(memory(0).slice(0, 4), 0)).toBe('unproven');
  });
});
