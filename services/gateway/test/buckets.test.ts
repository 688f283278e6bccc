// The shares as one gateway counts them, with a clock and a store that the tests move.
import { describe, expect, test } from '@jest/globals';
import { type BucketStore, Buckets, type Decision, type Grant, leaseUnitsOf } from '../src/rate-limit/buckets.ts';
import type { Policy } from '../src/rate-limit/gcra.ts';
import { policiesOf } from '../src/rate-limit/policies.ts';

const burst: Policy = { name: 'burst', quota: 5, windowSeconds: 1 };
const steady: Policy = { name: 'steady', quota: 8, windowSeconds: 60 };

/** Takes at once, without a store. */
function takeNow(buckets: Buckets, client: string, cost = 1): Decision {
  const decision = buckets.take(client, cost);
  if (decision instanceof Promise) throw new Error('the store was asked');
  return decision;
}
const admittedOf = (decisions: readonly Decision[]) => decisions.filter(({ isAdmitted }) => isAdmitted).length;
const violated = ({ limits }: Decision) => limits.map(({ policy }) => policy.name);

describe('without a store', () => {
  function createBuckets(policies: readonly Policy[]) {
    const clock = { seconds: 100 };
    return { clock, buckets: new Buckets(policies, { now: () => clock.seconds }) };
  }

  test('a caller gets its quota at once, and another caller its own', () => {
    const { buckets } = createBuckets([burst]);
    const decisions = Array.from({ length: 7 }, () => takeNow(buckets, 'key:a'));
    expect(decisions.map(({ isAdmitted }) => isAdmitted)).toEqual([true, true, true, true, true, false, false]);
    expect(takeNow(buckets, 'key:b').isAdmitted).toBe(true);
  });

  test('a request across the boundary of a second gives no second quota', () => {
    const { buckets, clock } = createBuckets([burst]);
    clock.seconds = 100.99;
    expect(admittedOf(Array.from({ length: 9 }, () => takeNow(buckets, 'key:a')))).toBe(5);
    clock.seconds = 101.01;
    expect(admittedOf(Array.from({ length: 9 }, () => takeNow(buckets, 'key:a')))).toBe(0);
    clock.seconds = 101.2;
    expect(admittedOf(Array.from({ length: 9 }, () => takeNow(buckets, 'key:a')))).toBe(1);
  });

  test('of two policies the one that is used up is named, or both', () => {
    const { buckets, clock } = createBuckets([burst, steady]);
    for (let count = 0; count < 5; count += 1) takeNow(buckets, 'key:a');
    expect(violated(takeNow(buckets, 'key:a'))).toEqual(['burst']);
    clock.seconds += 1;
    const decisions = Array.from({ length: 4 }, () => takeNow(buckets, 'key:a'));
    expect(admittedOf(decisions)).toBe(3);
    expect(decisions.slice(3).map(violated)).toEqual([['steady']]);
    const { buckets: equal } = createBuckets([burst, { ...burst, name: 'other' }]);
    for (let count = 0; count < 5; count += 1) takeNow(equal, 'key:a');
    expect(violated(takeNow(equal, 'key:a'))).toEqual(['burst', 'other']);
  });

  test('what is refused costs nothing, under none of the policies', () => {
    const { buckets, clock } = createBuckets([burst, { name: 'steady', quota: 2, windowSeconds: 20 }]);
    for (let count = 0; count < 1_000; count += 1) takeNow(buckets, 'key:a');
    clock.seconds += 10;
    const { isAdmitted, limits } = takeNow(buckets, 'key:a');
    expect([isAdmitted, limits.map(({ remaining }) => remaining)]).toEqual([true, [4, 0]]);
  });

  test('a request that costs two is refused with one unit left, and a cheaper one is not', () => {
    const { buckets } = createBuckets([burst]);
    takeNow(buckets, 'key:a', 2);
    takeNow(buckets, 'key:a', 2);
    const refused = takeNow(buckets, 'key:a', 2);
    expect([refused.isAdmitted, refused.limits]).toEqual([
      false,
      [{ policy: burst, remaining: 1, moreAfterSeconds: 1 }],
    ]);
    expect(takeNow(buckets, 'key:a').isAdmitted).toBe(true);
  });

  test.each([
    [burst, 1],
    [burst, 2],
    [steady, 1],
    [steady, 2],
    [{ name: 'odd', quota: 7, windowSeconds: 100 }, 2],
  ])(
    'after the time in Retry-After a request is admitted, and Retry-After is not before t (%j, cost %d)',
    (policy, cost) => {
      const { buckets, clock } = createBuckets([policy]);
      for (let round = 0; round < 50; round += 1) {
        let decision = takeNow(buckets, 'key:a', cost);
        for (; decision.isAdmitted; decision = takeNow(buckets, 'key:a', cost)) clock.seconds += 0.01;
        expect(decision.retryAfterSeconds).toBeGreaterThanOrEqual(Number(decision.limits[0]?.moreAfterSeconds));
        clock.seconds += decision.retryAfterSeconds;
        expect(takeNow(buckets, 'key:a', cost).isAdmitted).toBe(true);
      }
    },
  );
});

/** A store that grants as it is told. */
class ScriptedStore implements BucketStore {
  readonly asked: number[] = [];
  isAway = false;
  answer: (units: number) => Grant | Promise<Grant>;
  constructor(answer: ScriptedStore['answer']) {
    this.answer = answer;
  }
  isAvailable(): boolean {
    return !this.isAway;
  }
  async take(_client: string, units: number): Promise<Grant> {
    this.asked.push(units);
    return await this.answer(units);
  }
}

const fast: Policy = { name: 'fast', quota: 100, windowSeconds: 1 };

describe('with a store', () => {
  function createLeased(answer: ScriptedStore['answer'], policies: readonly Policy[] = [fast]) {
    const clock = { seconds: 100 };
    const store = new ScriptedStore(answer);
    return { clock, store, buckets: new Buckets(policies, { store, now: () => clock.seconds }) };
  }
  const grantAll = (units: number): Grant => ({ units, secondsUntilFull: [0.1] });

  test('a lease has the units of a twentieth of a second, and at least one', () => {
    expect([leaseUnitsOf([fast]), leaseUnitsOf([burst]), leaseUnitsOf([fast, burst])]).toEqual([5, 1, 1]);
    expect(leaseUnitsOf(policiesOf(undefined, true))).toBe(2);
  });

  test('a lease is spent from memory, and what is not spent after a second is lost', async () => {
    const { buckets, store, clock } = createLeased(grantAll);
    await buckets.take('key:a', 1);
    for (let count = 0; count < 4; count += 1) expect(takeNow(buckets, 'key:a').isAdmitted).toBe(true);
    expect(store.asked).toEqual([5]);
    await buckets.take('key:a', 1);
    clock.seconds += 1;
    await buckets.take('key:a', 1);
    expect(store.asked).toEqual([5, 5, 5]);
  });

  test('requests that come while the store is asked wait, and are asked for together', async () => {
    const { buckets, store } = createLeased(grantAll);
    const decisions = await Promise.all(Array.from({ length: 20 }, () => buckets.take('key:a', 1)));
    expect(admittedOf(decisions)).toBe(20);
    expect(store.asked).toEqual([5, 15]);
  });

  test('no more is asked for than the quota, and the rest is refused at once', async () => {
    const { buckets, store } = createLeased((units) => ({ units, secondsUntilFull: [1] }), [burst]);
    const decisions = await Promise.all(Array.from({ length: 50 }, () => buckets.take('key:a', 1)));
    expect(admittedOf(decisions)).toBe(5);
    expect(store.asked.reduce((sum, units) => sum + units, 0)).toBe(5);
    expect(decisions.at(-1)?.limits).toEqual([{ policy: burst, remaining: 0, moreAfterSeconds: 1 }]);
  });

  test('a caller that is refused does not ask the store again before there can be units', async () => {
    const { buckets, store, clock } = createLeased(() => ({ units: 0, secondsUntilFull: [1] }), [burst]);
    expect((await buckets.take('key:a', 1)).isAdmitted).toBe(false);
    for (let count = 0; count < 1_000; count += 1) expect(takeNow(buckets, 'key:a').isAdmitted).toBe(false);
    expect(store.asked).toHaveLength(1);
    clock.seconds += 0.2;
    await buckets.take('key:a', 1);
    expect(store.asked).toHaveLength(2);
  });

  test('when the store grants less than it said, the policy with the least is named, with a time to wait', async () => {
    const { buckets } = createLeased(() => ({ units: 0, secondsUntilFull: [0, 50] }), [burst, steady]);
    const { isAdmitted, limits, retryAfterSeconds } = await buckets.take('key:a', 1);
    expect([isAdmitted, limits.map(({ policy }) => policy.name)]).toEqual([false, ['steady']]);
    expect(retryAfterSeconds).toBeGreaterThanOrEqual(Number(limits[0]?.moreAfterSeconds));
  });

  test('without an answer the gateway counts alone, with the whole quota', async () => {
    const { buckets, store } = createLeased(() => Promise.reject(new Error('away')), [burst]);
    const decisions = await Promise.all(Array.from({ length: 9 }, () => buckets.take('key:a', 1)));
    expect(admittedOf(decisions)).toBe(5);
    store.isAway = true;
    expect(takeNow(buckets, 'key:a').isAdmitted).toBe(false);
    expect(admittedOf(Array.from({ length: 9 }, () => takeNow(buckets, 'key:b')))).toBe(5);
    expect(store.asked.length).toBeLessThanOrEqual(2);
  });
});
