// The promise: whatever the seed, a plan leaves no fault out.
import { expect, test } from '@jest/globals';
import { seededRandom } from '../../../local/random.ts';
import { faults } from '../faults.ts';
import { makePlan } from '../plan.ts';

test('a short plan has every fault once, and a pair of faults on different targets, whatever the seed', () => {
  const names = faults.map(({ name }) => name).sort();
  for (let seed = 1; seed <= 50; seed += 1) {
    const { required } = makePlan(seededRandom(seed), { short: true });
    expect(required.map(({ fault }) => fault).sort()).toEqual(names);
    const [first, second] = required.find(({ fault }) => fault === 'pair')?.parts ?? [];
    expect([first?.target === undefined, first?.target === second?.target]).toEqual([false, false]);
  }
});
