// Several stacks on one machine, such as those of test files that run side by side.
import { afterAll, expect, test } from '@jest/globals';
import { client } from '@promopulse/testing/client';
import { type RunningStack, startFreshStack } from './support/stack.ts';

const stacks: RunningStack[] = [];
afterAll(() => Promise.all(stacks.map((stack) => stack.close())));

test('stacks that start at the same time, and so choose the same ports, all come up', async () => {
  const starts = await Promise.allSettled([1, 2, 3].map(() => startFreshStack('memory')));
  for (const start of starts) if (start.status === 'fulfilled') stacks.push(start.value);
  expect(starts.map((start) => (start.status === 'rejected' ? String(start.reason) : 'up'))).toEqual([
    'up',
    'up',
    'up',
  ]);
  for (const { url } of stacks) expect((await client(url).get('/users?email=ada@example.com')).status).toBe(200);
}, 120_000);
