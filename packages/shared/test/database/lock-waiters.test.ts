// Work that waits for a lock: who waits where, and how many at a time.
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { LockWaiters } from '../../src/database/single-statements/lock-waiters.ts';

const lockTimeout = Object.assign(new Error('canceling statement due to lock timeout'), { code: '55P03' });
const never = new Promise<never>(() => undefined);

/** Work that waits until `unlock` is called, and a record of its attempts. */
function lockedWork() {
  const attempts: boolean[] = [];
  const lock = Promise.withResolvers<void>();
  const work = async (isRepeated: boolean) => {
    attempts.push(isRepeated);
    if (!isRepeated) throw lockTimeout;
    await lock.promise;
    return 'done';
  };
  return { work, attempts, unlock: () => lock.resolve() };
}

test('work that waits for no lock is done once, whether it succeeds or fails', async () => {
  const waiters = new LockWaiters(1);
  const attempts: boolean[] = [];
  const work = async (isRepeated: boolean) => attempts.push(isRepeated);
  await waiters.attempt(undefined, work);
  const failing = (isRepeated: boolean) => work(isRepeated).then(() => Promise.reject(new RangeError('no')));
  await expect(waiters.attempt(undefined, failing)).rejects.toThrow('no');
  expect(attempts).toEqual([false, false]);
});

test('of the work for one row, one repetition runs at a time, and later work joins without an attempt of its own', async () => {
  const { work, attempts, unlock } = lockedWork();
  const waiters = new LockWaiters(2);
  const first = [1, 2, 3].map(() => waiters.attempt(() => 'row', work));
  await sleep(1);
  const later = [4, 5].map(() => waiters.attempt(() => 'row', work));
  expect(attempts).toEqual([false, false, false, true]);
  unlock();
  expect(await Promise.all([...first, ...later])).toEqual(Array(5).fill('done'));
  expect(attempts).toEqual([false, false, false, true, true, true, true, true]);
});

test('work for another row runs meanwhile, up to the limit', async () => {
  const waiters = new LockWaiters(2);
  const works = ['a', 'b', 'c'].map((row) => ({ row, ...lockedWork() }));
  const all = works.map(({ row, work }) => waiters.attempt(() => row, work));
  await sleep(1);
  expect(works.map(({ attempts }) => attempts.length)).toEqual([2, 2, 1]);
  for (const { unlock } of works) unlock();
  await Promise.all(all);
});

test('work of an unknown row is repeated as well', async () => {
  const { work, unlock } = lockedWork();
  const waiting = new LockWaiters(1).attempt(undefined, work);
  unlock();
  expect(await waiting).toBe('done');
});

test('a repetition that fails lets the next one begin', async () => {
  const waiters = new LockWaiters(1);
  const failing = async (isRepeated: boolean) => {
    throw isRepeated ? new RangeError('no') : lockTimeout;
  };
  const results = await Promise.allSettled([1, 2, 3].map(() => waiters.attempt(() => 'row', failing)));
  expect(results.map((result) => result.status === 'rejected' && result.reason.message)).toEqual(['no', 'no', 'no']);
});

test('work that cannot begin within two seconds fails as one that waited too long for a lock', async () => {
  const waiters = new LockWaiters(1);
  void waiters.attempt(
    () => 'row',
    (isRepeated) => (isRepeated ? never : Promise.reject(lockTimeout)),
  );
  const { work, attempts } = lockedWork();
  await expect(waiters.attempt(() => 'row', work)).rejects.toMatchObject({ code: '55P03' });
  expect(attempts).toEqual([false]);
});

test('a repetition that waits too long for its lock fails the work that waited for the same row all the while', async () => {
  const waiters = new LockWaiters(1);
  const lock = Promise.withResolvers<never>();
  const { work, attempts, unlock } = lockedWork();
  const first = waiters.attempt(
    () => 'row',
    (isRepeated) => (isRepeated ? lock.promise : Promise.reject(lockTimeout)),
  );
  const before = waiters.attempt(
    () => 'row',
    () => Promise.reject(lockTimeout),
  );
  const other = waiters
    .attempt(
      () => 'other',
      async () => 'other',
    )
    .then(() => undefined);
  await sleep(1);
  await other;
  const start = performance.now();
  const settled = Promise.allSettled([first, before]);
  lock.reject(lockTimeout);
  for (const result of await settled) expect(result).toMatchObject({ status: 'rejected', reason: { code: '55P03' } });
  expect(performance.now() - start).toBeLessThan(1_000);
  unlock();
  expect(await waiters.attempt(() => 'row', work)).toBe('done');
  expect(attempts).toEqual([false, true]);
});
