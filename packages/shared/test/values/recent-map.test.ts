// A map of bounded size that keeps what was used lately.
import { expect, test } from '@jest/globals';
import { RecentMap } from '../../src/values/recent-map.ts';

test('the number of entries is bounded, and what is used stays', () => {
  const map = new RecentMap<number, number>(100);
  for (let key = 0; key < 100_000; key += 1) {
    map.set(key, key);
    map.get(0);
  }
  expect(map.size).toBeLessThanOrEqual(100);
  expect([map.get(0), map.get(99_999), map.get(5)]).toEqual([0, 99_999, undefined]);
});

test('a value that was replaced or deleted does not come back, whatever its age', () => {
  const map = new RecentMap<string, number>(4);
  for (const key of ['replaced', 'deleted', 'other']) map.set(key, 1); // the first two are in the old generation
  map.set('replaced', 2);
  map.delete('deleted');
  expect([map.get('replaced'), map.get('deleted'), map.size]).toEqual([2, undefined, 2]);
});

test('a value is computed once, and again when it was forgotten', () => {
  const map = new RecentMap<number, number>(4);
  let computed = 0;
  const next = (): number => {
    computed += 1;
    return computed;
  };
  expect([map.getOrInsertComputed(1, next), map.getOrInsertComputed(1, next)]).toEqual([1, 1]);
  for (const key of [2, 3, 4, 5]) map.getOrInsertComputed(key, next);
  expect(map.getOrInsertComputed(1, next)).toBe(6);
});
