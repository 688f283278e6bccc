// The rules of what is counted: as limits, as what each verdict of the statement in queries.ts means, and as an error of
// an item. They are the documentation, and the tests are derived from them.

/** Events of more than so many days ago are late. Days are removed later than that, so that a repetition meets the first. */
export const lateAfterDays = 7;
/** Clocks of clients may be ahead by so much. */
export const maxAheadMinutes = 5;
/** Counts are kept by quarters of an hour: every offset that a time zone has is a multiple of it. */
export const bucketMinutes = 15;
export const maxEvents = 100;

export const receiptStatuses = ['accepted', 'duplicate', 'late', 'rejected', 'retry'] as const;

/** Why an item is rejected. The field is at fault, and the rule completes "<field> …". */
export const rejections = {
  occurred_in_future: { field: 'occurred_at', rule: `must be at most ${maxAheadMinutes} minutes ahead` },
  user_not_found: { field: 'user_id', rule: 'must be a user' },
  promotion_not_found: { field: 'promotion_id', rule: 'must be a promotion' },
  promotion_not_active: { field: 'promotion_id', rule: 'must be a promotion that is or was active' },
  outside_promotion_dates: {
    field: 'occurred_at',
    rule: 'must be from start_at to before end_at of the promotion, and not after it was ended',
  },
} as const satisfies Record<string, { field: string; rule: string }>;

export type Rejection = keyof typeof rejections;

/** Of an item that breaks the rule of a field. */
export const invalidItem = 'validation_failed';

/**
 * What the statement says of an item. `accepted` and `duplicate` are committed. The others have changed nothing yet:
 * `ask_…` needs an answer of that owner, and `retry` has no partition for its day.
 */
export type Verdict = 'accepted' | 'duplicate' | 'late' | 'retry' | 'ask_users' | 'ask_promotions' | Rejection;

/** What `settle` says of an item: the verdict as it is, or `duplicate` if the id was accepted before. */
export type UnacceptedVerdict = Exclude<Verdict, 'accepted' | 'ask_users' | 'ask_promotions'>;

export function isRejection(verdict: string): verdict is Rejection {
  return Object.hasOwn(rejections, verdict);
}
