import { describe, expect, test } from '@jest/globals';
import { type Consulted, decideCreation, decideReactivation, type SubscriptionFacts } from '../src/rules.ts';

const noneConsulted: Consulted = {};
/** Both owners have answered that there is none. */
const noneFound: Consulted = { users: 'none', promotions: 'none' };
/** Both owners have answered a state. */
const found: Consulted = { users: 'state', promotions: 'state' };
const good = { user_id: 7, promotion_id: 9, user: 'known', promotion: 'active', fresh: true } as const;
const none = { subscription_id: null, is_active: null };
const inactive = { subscription_id: 3, is_active: false };
const active = { subscription_id: 3, is_active: true };

/** The two decisions, each with the facts of its ordinary case. */
const decisions = [
  ['creation', decideCreation, { ...good, ...none }],
  ['reactivation', decideReactivation, { ...good, ...inactive }],
] as const;

const notActive = (status: string) =>
  `invalid: Cannot subscribe to promotion 9 with status '${status}'. Promotion must be ACTIVE to accept subscriptions.`;

describe.each(decisions)('a %s', (_name, decide, ordinary) => {
  function rejectionOf(facts: Partial<SubscriptionFacts>, consulted: Consulted) {
    const decision = decide({ ...ordinary, ...facts }, consulted);
    if (decision === 'retry' || !('reject' in decision)) throw new Error(`not rejected: ${JSON.stringify(decision)}`);
    return decision.reject;
  }
  const rejection = (facts: Partial<SubscriptionFacts>, consulted: Consulted): string => {
    const { kind, message } = rejectionOf(facts, consulted);
    return `${kind}: ${message}`;
  };

  describe('the user', () => {
    test('is looked up when unknown, before anything is decided about the promotion', () => {
      expect(decide({ ...ordinary, user: 'unknown', promotion: 'ended' }, noneConsulted)).toEqual({
        consult: 'users',
      });
    });
    test('is not found when the owner does not know it either', () => {
      expect(rejection({ user: 'unknown' }, noneFound)).toBe('not_found: User 7 not found');
    });
    test('is looked up again when the answer of its owner was outdated at once', () => {
      expect(decide({ ...ordinary, user: 'unknown' }, found)).toEqual({ consult: 'users' });
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
      expect(decide({ ...ordinary, promotion, fresh }, noneConsulted)).toEqual({ consult: 'promotions' });
    });
    test('that the owner does not know is rejected as not_found', () => {
      expect(rejection({ promotion: 'unknown' }, noneFound)).toBe(notActive('not_found'));
    });
    test('is looked up again when the answer of its owner was outdated at once', () => {
      expect(decide({ ...ordinary, promotion: 'unknown' }, found)).toEqual({ consult: 'promotions' });
    });
    test('with a status that this release does not know is rejected with that status', () => {
      expect(rejection({ promotion: 'paused' }, found)).toBe(notActive('paused'));
    });
    test('that is a draft at its owner is rejected as a draft', () => {
      expect(rejection({ promotion: 'draft' }, found)).toBe(notActive('draft'));
    });
    test('whose owner answered too long ago is looked up again', () => {
      expect(decide({ ...ordinary, fresh: false }, found)).toEqual({ consult: 'promotions' });
    });
  });

  test('is tried again when no fact explains any more that nothing was written', () => {
    expect(decide(ordinary, noneConsulted)).toBe('retry');
  });

  test.each([
    ['draft', found, 'draft'],
    ['ended', noneConsulted, 'ended'],
    ['paused', found, 'paused'],
    ['unknown', noneFound, 'not_found'],
  ])('tells programs that the promotion is %s', (promotion, consulted, promotion_status) => {
    expect(rejectionOf({ promotion }, consulted).members).toEqual({ promotion_status });
  });
});

describe('a duplicate', () => {
  const rejectionOf = (facts: Partial<SubscriptionFacts>) => {
    const decision = decideCreation({ ...good, ...none, ...facts }, noneConsulted);
    return decision !== 'retry' && 'reject' in decision ? decision.reject : undefined;
  };

  test('of an active subscription says that the user is subscribed', () => {
    expect(rejectionOf(active)).toMatchObject({
      kind: 'conflict',
      code: 'already_subscribed',
      message: 'User 7 is already subscribed to promotion 9. Duplicate subscriptions are not allowed.',
      members: { subscription_id: 3 },
    });
  });

  test('of an inactive one says that the user was subscribed, and names the way back', () => {
    expect(rejectionOf(inactive)).toMatchObject({
      kind: 'conflict',
      code: 'subscription_inactive',
      message: expect.stringMatching(/^User 7 was subscribed to promotion 9.*PATCH \/subscriptions\/3\/reactivate/),
      members: { subscription_id: 3 },
    });
  });

  test.each([active, inactive])('is rejected last: %j', (subscription) => {
    expect(rejectionOf({ ...subscription, promotion: 'ended' })?.code).toBe('promotion_not_active');
    expect(rejectionOf({ ...subscription, user: 'deleted' })?.code).toBe('user_not_found');
  });
});

test('what is active already is not reactivated, and no owner is asked about it', () => {
  const unknown = { user: 'unknown', promotion: 'unknown', fresh: false } as const;
  expect(decideReactivation({ ...good, ...unknown, ...active }, noneConsulted)).toMatchObject({
    reject: { kind: 'invalid', code: 'already_active', message: 'Subscription 3 is already active' },
  });
});
