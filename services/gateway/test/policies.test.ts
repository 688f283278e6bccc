// RATE_LIMITS, AUTH_FAILURE_LIMIT and FREE_LIMIT: what is accepted, and what a start error says of the rest.
import { describe, expect, test } from '@jest/globals';
import { serviceUrls } from '@promopulse/shared/contracts/services';
import { loadGatewayConfig } from '../src/config.ts';
import { freeLimitOf, policiesOf } from '../src/rate-limit/policies.ts';

const load = (env: Record<string, string>) => {
  return loadGatewayConfig({ ...serviceUrls((name) => `http://${name}:1`), ...env });
};

test('policies are read with their names, in their order', () => {
  expect(load({ RATE_LIMITS: 'burst=50/1s, steady=3000/60s' }).RATE_LIMITS).toEqual([
    { name: 'burst', quota: 50, windowSeconds: 1 },
    { name: 'steady', quota: 3_000, windowSeconds: 60 },
  ]);
  expect(load({ AUTH_FAILURE_LIMIT: '5/10s' }).AUTH_FAILURE_LIMIT.policy).toMatchObject({
    quota: 5,
    windowSeconds: 10,
  });
});

test('without RATE_LIMITS there is a limit if the gateway authenticates, and none otherwise; off is off', () => {
  const { RATE_LIMITS, AUTH_FAILURE_LIMIT } = load({});
  expect(policiesOf(RATE_LIMITS, false)).toEqual([]);
  expect(policiesOf(RATE_LIMITS, true).map(({ name }) => name)).toEqual(['burst', 'steady']);
  expect(AUTH_FAILURE_LIMIT.policy).toEqual({ name: 'auth-failures', quota: 20, windowSeconds: 60 });
  const off = load({ RATE_LIMITS: 'off', AUTH_FAILURE_LIMIT: 'off' });
  expect([policiesOf(off.RATE_LIMITS, true), off.AUTH_FAILURE_LIMIT.policy]).toEqual([[], undefined]);
});

test('FREE_LIMIT is on by default if the gateway authenticates, and off is off', () => {
  const free = { name: 'free', quota: 1_000, windowSeconds: 10 };
  expect([freeLimitOf(load({}).FREE_LIMIT, true), freeLimitOf(undefined, false)]).toEqual([free, undefined]);
  expect(freeLimitOf(load({ FREE_LIMIT: 'off' }).FREE_LIMIT, true)).toBeUndefined();
  expect(freeLimitOf(load({ FREE_LIMIT: '5/1s' }).FREE_LIMIT, false)).toMatchObject({ quota: 5, windowSeconds: 1 });
  expect(() => load({ FREE_LIMIT: 'many' })).toThrow('FREE_LIMIT');
  expect(() => load({ RATE_LIMITS: 'free=5/1s' })).toThrow('free is the name of FREE_LIMIT');
});

describe('a start error names the variable and the rule', () => {
  test.each([
    ['burst', 'RATE_LIMITS is not valid: "burst" is no policy: a policy is name=quota/window'],
    ['burst=50/s', '"burst=50/s" is no policy'],
    ['burst=50/1m', '"burst=50/1m" is no policy'],
    ['Burst=50/1s', '"Burst=50/1s" is no policy'],
    ['burst=-5/1s', '"burst=-5/1s" is no policy'],
    ['burst=50/1s,', '"" is no policy'],
    ['burst=1/1s', 'burst must have a quota from 2 to 1000000000'],
    ['burst=5000000000/1s', 'burst must have a quota from 2 to 1000000000'],
    ['burst=50/0s', 'burst must have a window from 1 to 86400 seconds'],
    ['burst=50/86401s', 'burst must have a window from 1 to 86400 seconds'],
    ['burst=100001/1s', 'burst must grant at most 100000 units per second on average'],
    ['a=5/1s, a=6/1s', 'a is there twice'],
    ['a=5/1s, b=5/1s, c=5/1s, d=5/1s, e=5/1s', 'there are 5 policies, and at most 4 may be'],
    ['auth-failures=5/1s', 'auth-failures is the name of AUTH_FAILURE_LIMIT'],
  ])('RATE_LIMITS=%s', (RATE_LIMITS, message) => {
    expect(() => load({ RATE_LIMITS })).toThrow(message);
  });

  test.each(['20', '0/60s', '20/0s', 'on'])('AUTH_FAILURE_LIMIT=%s', (AUTH_FAILURE_LIMIT) => {
    expect(() => load({ AUTH_FAILURE_LIMIT })).toThrow(/AUTH_FAILURE_LIMIT is not valid: must (be|have)/);
  });
});
