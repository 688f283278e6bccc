import { describe, expect, test } from '@jest/globals';
import { type Consulted, decide, type SubscriptionFacts } from '../src/rules.ts';

const wanted = { user_id: 7, promotion_id: 9 };
const noneConsulted: Consulted = {};
/** Both owners have answered that there is none. */
const noneFound: Consulted = { users: 'none', promotions: 'none' };
/** Both owners have answered a state. */
const found: Consulted = { users: 'state', promotions: 'state' };
const good: SubscriptionFacts = { user: 'known', promotion: 'active', fresh: true, subscribed: false };

function rejection(facts: Partial<SubscriptionFacts>, consulted: Consulted): string {
  const decision = decide({ ...good, ...facts }, consulted, wanted);
  if (decision === 'retry' || !('reject' in decision)) throw new Error(`not rejected: ${JSON.stringify(decision)}`);
  return `${decision.reject.kind}: ${decision.reject.message}`;
}
const notActive = (status: string) =>
  `invalid: Cannot subscribe to promotion 9 with status '${status}'. Promotion must be ACTIVE to accept subscriptions.`;

describe('the user', () => {
  test('is looked up when unknown, before anything is decided about the promotion', () => {
    expect(decide({ ...good, user: 'unknown', promotion: 'ended' }, noneConsulted, wanted)).toEqual({
      consult: 'users',
    });
  });
  test('is not found when the owner does not know it either', () => {
    expect(rejection({ user: 'unknown' }, noneFound)).toBe('not_found: User 7 not found');
  });
  test('is looked up again when the answer of its owner was outdated at once', () => {
    expect(decide({ ...good, user: 'unknown' }, found, wanted)).toEqual({ consult: 'users' });
  });
  test('is not found when deleted, without a look-up', () => {
    expect(rejection({ user: 'deleted' }, noneConsulted)).toBe('not_found: User 7 not found');
  });
});

describe('the promotion', () => {
  test('that has ended is rejected without a look-up: the status is final', () => {
    expect(rejection({ promotion: 'ended', fresh: false }, noneConsulted)).toBe(notActive('ended'));
  });
  test.each([
    ['unknown', true],
    ['draft', true],
    ['active', false],
  ] as const)('that is %s (fresh: %s) is looked up', (promotion, fresh) => {
    expect(decide({ ...good, promotion, fresh }, noneConsulted, wanted)).toEqual({ consult: 'promotions' });
  });
  test('that the owner does not know is rejected as not_found', () => {
    expect(rejection({ promotion: 'unknown' }, noneFound)).toBe(notActive('not_found'));
  });
  test('is looked up again when the answer of its owner was outdated at once', () => {
    expect(decide({ ...good, promotion: 'unknown' }, found, wanted)).toEqual({ consult: 'promotions' });
  });
  test('with a status that this release does not know is rejected with that status', () => {
    expect(rejection({ promotion: 'paused' }, found)).toBe(notActive('paused'));
  });
  test('that is a draft at its owner is rejected as a draft', () => {
    expect(rejection({ promotion: 'draft' }, found)).toBe(notActive('draft'));
  });
  test('whose owner answered too long ago is looked up again', () => {
    expect(decide({ ...good, fresh: false }, found, wanted)).toEqual({ consult: 'promotions' });
  });
});

describe('a duplicate', () => {
  test('is rejected last', () => {
    expect(rejection({ subscribed: true }, noneConsulted)).toBe(
      'conflict: User 7 is already subscribed to promotion 9. Duplicate subscriptions are not allowed.',
    );
    expect(rejection({ subscribed: true, promotion: 'ended' }, noneConsulted)).toBe(notActive('ended'));
  });
});

test('when no fact explains it any more, the insert is tried again', () => {
  expect(decide(good, noneConsulted, wanted)).toBe('retry');
});
