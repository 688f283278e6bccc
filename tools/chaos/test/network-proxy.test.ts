// The order of what a slow connection carries.
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { delayInOrder } from '../network-proxy.ts';

test('nothing overtakes what waits, although the latency drops and its timer is late', async () => {
  let latencyMs = 20;
  const done: string[] = [];
  const delay = delayInOrder(() => latencyMs);
  delay(() => done.push('first'));
  const due = performance.now() + latencyMs + 10;
  while (performance.now() < due); // the event loop is busy, so that the timer is late
  latencyMs = 0;
  delay(() => done.push('second'));
  expect(done).toEqual([]);
  delay(() => done.push('third'));
  await sleep(50);
  expect(done).toEqual(['first', 'second', 'third']);
  delay(() => done.push('without delay'));
  expect(done.at(-1)).toBe('without delay');
});
