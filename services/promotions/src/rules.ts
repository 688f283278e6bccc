// The rules of a promotion's life, as data: the tables below are the documentation, and the tests follow from them.
import { type PromotionStatus, promotionStatuses } from '@promopulse/shared/contracts/promotions';
import { type DomainError, invalidInput, ruleViolation } from '@promopulse/shared/errors';

/** Where a promotion can go from each status: one way only. */
export const transitions: Readonly<Record<PromotionStatus, readonly PromotionStatus[]>> = {
  draft: ['active'],
  active: ['ended'],
  ended: [],
};

export const fields = ['name', 'description', 'start_at', 'end_at'] as const;
export type Field = (typeof fields)[number];

/** What may still be edited in each status. */
export const editableFields: Readonly<Record<PromotionStatus, readonly Field[]>> = {
  draft: fields,
  active: ['name', 'description'],
  ended: [],
};

/** From where a promotion can go to this status. */
export function allowedFrom(to: PromotionStatus): PromotionStatus[] {
  return promotionStatuses.filter((from) => transitions[from].includes(to));
}

/** Why a promotion cannot go from one status to another; undefined when it can. */
export function checkTransition(from: PromotionStatus, to: PromotionStatus): DomainError | undefined {
  if (transitions[from].includes(to)) return undefined;
  const valid = Object.entries(transitions)
    .flatMap(([start, ends]) => ends.map((end) => `${start.toUpperCase()}→${end.toUpperCase()}`))
    .join(', ');
  return ruleViolation('invalid_transition', `Cannot transition from ${from} to ${to}. Valid transitions: ${valid}`, [
    { field: 'status', rule: `must be reachable from ${from}` },
  ]);
}

/** Why these fields cannot be edited in this status; undefined when they can. */
export function checkEdit(status: PromotionStatus, edited: readonly Field[]): DomainError | undefined {
  const refused = edited.filter((field) => !editableFields[status].includes(field));
  if (refused.length === 0) return undefined;
  return ruleViolation(
    'field_not_editable',
    `Cannot edit field '${refused[0]}' when promotion is in ${status} status`,
    refused.map((field) => ({ field, rule: `cannot be edited when the promotion is ${status}` })),
  );
}

/** Why this period is none; undefined when it is one. */
export function checkPeriod(start: Date, end: Date): DomainError | undefined {
  return end > start ? undefined : invalidInput([{ field: 'end_at', rule: 'must be after start_at' }]);
}
