// Checks of the responses alone: each is declared for its kind of request, and each rejection gives a true reason.
import type { Check } from './check.ts';
import {
  type Attempt,
  describeAttempt,
  idInPath,
  isOutcomeUnknown,
  isSuccess,
  isUnanswered,
  type RequestKind,
} from './history.ts';

/** Allowed statuses other than success, 503, 504 and no response. */
const rejections: Record<RequestKind, readonly number[]> = {
  'create user': [409],
  'change user': [409],
  'create promotion': [],
  activate: [],
  edit: [422],
  end: [],
  subscribe: [409, 422],
  deactivate: [422],
  'read user': [],
  'find user': [],
  'read promotion': [],
  'list promotions': [],
  'list subscriptions': [],
  'bad request': [404, 422],
};

export function checkResponses(history: readonly Attempt[]): Check {
  const breaches: string[] = [];
  for (const attempt of history) {
    const mayBeRepeated = Number(attempt.retryAfter) > 0;
    if (attempt.status === 503 && mayBeRepeated === isOutcomeUnknown(attempt)) {
      breaches.push(
        `${mayBeRepeated ? 'Retry-After of an unknown outcome' : 'no Retry-After'}: ${describeAttempt(attempt)}`,
      );
    }
    const isAccepted = isSuccess(attempt) && attempt.kind !== 'bad request';
    if (!isAccepted && !isUnanswered(attempt) && !rejections[attempt.kind].includes(attempt.status)) {
      breaches.push(`undeclared response: ${describeAttempt(attempt)}`);
    }
  }
  return {
    promise: 'only declared responses, no 500, every 503 with Retry-After unless its outcome is unknown',
    examined: `${history.length} requests`,
    breaches,
  };
}

/**
 * A 422 says that the promotion is not active (subscribe) or already ended (edit). It is false when the activation was
 * acknowledged before the request began and no end had been requested before the response.
 */
export function checkRejectionReasons(history: readonly Attempt[]): Check {
  const activatedAt = earliestByPromotion(
    history.filter((attempt) => attempt.kind === 'activate' && isSuccess(attempt)),
    ({ endedAt }) => endedAt,
  );
  const endRequestedAt = earliestByPromotion(
    history.filter(({ kind }) => kind === 'end'),
    ({ startedAt }) => startedAt,
  );
  const isFalse = (attempt: Attempt): boolean => {
    if (attempt.kind !== 'subscribe' && attempt.kind !== 'edit') return false;
    const id = attempt.kind === 'edit' ? idInPath(attempt) : (attempt.body?.promotion_id as number);
    const mayHaveEnded = (endRequestedAt.get(id) ?? Number.POSITIVE_INFINITY) <= attempt.endedAt;
    if (attempt.kind === 'edit') return !mayHaveEnded;
    return (activatedAt.get(id) ?? Number.POSITIVE_INFINITY) <= attempt.startedAt && !mayHaveEnded;
  };
  const rejected = history.filter(({ status, kind }) => status === 422 && kind !== 'bad request');
  return {
    promise: 'a rejection is true: no caller gets "not active" after getting "active"',
    examined: `${rejected.length} rejections`,
    breaches: rejected.filter(isFalse).map((attempt) => `false reason: ${describeAttempt(attempt)}`),
  };
}

function earliestByPromotion(
  attempts: readonly Attempt[],
  timeOf: (attempt: Attempt) => number,
): ReadonlyMap<number, number> {
  const earliest = new Map<number, number>();
  for (const attempt of attempts) {
    const id = idInPath(attempt);
    earliest.set(id, Math.min(earliest.get(id) ?? Number.POSITIVE_INFINITY, timeOf(attempt)));
  }
  return earliest;
}
