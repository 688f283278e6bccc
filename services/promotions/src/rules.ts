// The rules of a promotion's lifecycle as tables. They are the documentation, and the tests are derived from them.
import { type PromotionStatus, promotionStatuses } from '@promopulse/shared/contracts/promotions';
import { type DomainError, invalidInput, ruleViolation } from '@promopulse/shared/errors';

/** The transitions from each status. None goes back. */
export const transitions: Readonly<Record<PromotionStatus, readonly PromotionStatus[]>> = {
  draft: ['active'],
  active: ['ended'],
  ended: [],
};

/** The fields that callers decide. */
export const fields = ['name', 'description', 'start_at', 'end_at'] as const;
export type Field = (typeof fields)[number];

/** The fields that can be edited in each status. */
export const editableFields: Readonly<Record<PromotionStatus, readonly Field[]>> = {
  draft: fields,
  active: ['name', 'description'],
  ended: [],
};

/** The fields that can be edited in this status, as English text. */
export function editableText(status: PromotionStatus): string {
  const editable = editableFields[status];
  if (editable.length === fields.length) return 'every field';
  return editable.length === 0 ? 'nothing' : new Intl.ListFormat('en').format(editable);
}

/** The statuses that end users may see. */
const publishedStatuses = ['active', 'ended'] as const satisfies readonly PromotionStatus[];

export function isPublished(status: PromotionStatus): boolean {
  return publishedStatuses.some((each) => each === status);
}

/** The statuses from which a promotion can reach this one. */
export function allowedFrom(to: PromotionStatus): PromotionStatus[] {
  return promotionStatuses.filter((from) => transitions[from].includes(to));
}

/** The error when the transition is not allowed, else undefined. */
export function checkTransition(from: PromotionStatus, to: PromotionStatus): DomainError | undefined {
  if (transitions[from].includes(to)) return undefined;
  const valid = Object.entries(transitions)
    .flatMap(([start, ends]) => ends.map((end) => `${start.toUpperCase()}→${end.toUpperCase()}`))
    .join(', ');
  return ruleViolation(
    'invalid_transition',
    `Cannot transition from ${from} to ${to}. Valid transitions: ${valid}`,
    [{ field: 'status', rule: `must be reachable from ${from}` }],
    { promotion_status: from },
  );
}

/** The error when one of these fields cannot be edited in this status, else undefined. */
export function checkEdit(status: PromotionStatus, edited: readonly Field[]): DomainError | undefined {
  const fixed = edited.filter((field) => !editableFields[status].includes(field));
  if (fixed.length === 0) return undefined;
  return ruleViolation(
    'field_not_editable',
    `Cannot edit field '${fixed[0]}' when promotion is in ${status} status`,
    fixed.map((field) => ({ field, rule: `cannot be edited when the promotion is ${status}` })),
    { promotion_status: status },
  );
}

/** The error unless the period ends after it starts, else undefined. */
export function checkPeriod(start: Date, end: Date): DomainError | undefined {
  return end > start ? undefined : invalidInput([{ field: 'end_at', rule: 'must be after start_at' }]);
}
