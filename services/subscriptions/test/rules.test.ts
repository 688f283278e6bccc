import { describe, expect, test } from '@jest/globals';
import { type Consulted, decide, type SubscriptionFacts } from '../src/rules.ts';

const wanted = { user_id: 7, promotion_id: 9 };
const nobodyAsked: Consulted = { users: false, promotions: false };
const allAsked: Consulted = { users: true, promotions: true };
const good: SubscriptionFacts = { user: 'known', promotion: 'active', fresh: true, subscribed: false };

function refusal(situation: Partial<SubscriptionFacts>, asked: Consulted): string {
  const verdict = decide({ ...good, ...situation }, asked, wanted);
  if (verdict === 'try again' || !('refuse' in verdict)) throw new Error(`not refused: ${JSON.stringify(verdict)}`);
  return `${verdict.refuse.kind}: ${verdict.refuse.message}`;
}
const notActive = (status: string) =>
  `invalid: Cannot subscribe to promotion 9 with status '${status}'. Promotion must be ACTIVE to accept subscriptions.`;

describe('the user', () => {
  test('is asked for when unknown, before anything is said of the promotion', () => {
    expect(decide({ ...good, user: 'unknown', promotion: 'ended' }, nobodyAsked, wanted)).toEqual({ ask: 'users' });
  });
  test('is not found when the owner knows none either', () => {
    expect(refusal({ user: 'unknown' }, allAsked)).toBe('not_found: User 7 not found');
  });
  test('is not found when deleted, without asking', () => {
    expect(refusal({ user: 'deleted' }, nobodyAsked)).toBe('not_found: User 7 not found');
  });
});

describe('the promotion', () => {
  test('that has ended is refused without asking: the status is terminal', () => {
    expect(refusal({ promotion: 'ended', fresh: false }, nobodyAsked)).toBe(notActive('ended'));
  });
  test.each([
    ['unknown', true],
    ['draft', true],
    ['active', false],
  ] as const)('that is %s (fresh: %s) is asked for', (promotion, fresh) => {
    expect(decide({ ...good, promotion, fresh }, nobodyAsked, wanted)).toEqual({ ask: 'promotions' });
  });
  test('that the owner does not know is refused as not_found', () => {
    expect(refusal({ promotion: 'unknown' }, allAsked)).toBe(notActive('not_found'));
  });
  test('that the owner calls a draft is refused as a draft', () => {
    expect(refusal({ promotion: 'draft' }, allAsked)).toBe(notActive('draft'));
  });
  test('whose owner answered too long ago is neither accepted nor refused', () => {
    expect(refusal({ fresh: false }, allAsked)).toMatch(/^unavailable: /);
  });
});

describe('a duplicate', () => {
  test('is refused last', () => {
    expect(refusal({ subscribed: true }, nobodyAsked)).toBe(
      'conflict: User 7 is already subscribed to promotion 9. Duplicate subscriptions are not allowed.',
    );
    expect(refusal({ subscribed: true, promotion: 'ended' }, nobodyAsked)).toBe(notActive('ended'));
  });
});

test('when nothing stands against it any more, the insert is tried again', () => {
  expect(decide(good, nobodyAsked, wanted)).toBe('try again');
});
