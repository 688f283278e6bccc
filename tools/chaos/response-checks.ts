// Checks of the responses alone: each is declared for its kind of request, and each rejection gives a true reason.
import type { Check } from './check.ts';
import {
  type Attempt,
  describeAttempt,
  idInPath,
  isInProgress,
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
  reactivate: [422],
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
    const isRetriedEarly = attempt.key !== undefined && isInProgress(attempt);
    const isDeclared = isUnanswered(attempt) || isRetriedEarly || rejections[attempt.kind].includes(attempt.status);
    if (!isAccepted && !isDeclared) {
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
 * A 422 says that the promotion is not active (subscribe, reactivate) or already ended (edit). It is false when the activation was
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
  const promotionIds = new Map(
    history
      .filter((attempt) => attempt.kind === 'subscribe' && isSuccess(attempt))
      .map(({ id, body }) => [id, body?.promotion_id as number]),
  );
  const promotionIdOf = (attempt: Attempt): number | undefined => {
    if (attempt.kind === 'edit') return idInPath(attempt);
    if (attempt.kind === 'subscribe') return attempt.body?.promotion_id as number;
    return attempt.code === 'promotion_not_active' ? promotionIds.get(idInPath(attempt)) : undefined;
  };
  const isFalse = (attempt: Attempt): boolean => {
    const id = promotionIdOf(attempt);
    if (id === undefined) return false;
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

/** What a rejection says about a subscription. */
const claims: Partial<Record<string, 'active' | 'inactive'>> = {
  already_subscribed: 'active',
  already_active: 'active',
  subscription_inactive: 'inactive',
  already_inactive: 'inactive',
};

/**
 * A rejection says "is active" or "is inactive". It is false when an acknowledged request had made it the opposite before,
 * and no request since then can have made it so.
 */
export function checkSubscriptionReasons(history: readonly Attempt[]): Check {
  const ids = new Map<string, number>();
  const changes = new Map<number, { attempt: Attempt; to: 'active' | 'inactive' }[]>();
  const pairOf = ({ body }: Attempt): string => `${body?.user_id} ${body?.promotion_id}`;
  for (const attempt of history) {
    if (attempt.kind === 'subscribe' && isSuccess(attempt)) ids.set(pairOf(attempt), attempt.id as number);
    if (attempt.kind !== 'deactivate' && attempt.kind !== 'reactivate') continue;
    if (!isSuccess(attempt) && !isOutcomeUnknown(attempt)) continue;
    const to = attempt.kind === 'reactivate' ? 'active' : 'inactive';
    changes.set(idInPath(attempt), [...(changes.get(idInPath(attempt)) ?? []), { attempt, to }]);
  }
  const isFalse = (claim: Attempt): boolean => {
    const id = claim.kind === 'subscribe' ? ids.get(pairOf(claim)) : idInPath(claim);
    if (id === undefined) return false; // its creation has an unknown outcome
    const state = claims[claim.code ?? ''];
    const ofRow = changes.get(id) ?? [];
    const opposites = ofRow.filter(
      ({ attempt, to }) => to !== state && isSuccess(attempt) && attempt.endedAt <= claim.startedAt,
    );
    if (opposites.length === 0 && state === 'active') return false; // a subscription begins active
    const oppositeAt = Math.max(Number.NEGATIVE_INFINITY, ...opposites.map(({ attempt }) => attempt.startedAt));
    return !ofRow.some(
      ({ attempt, to }) =>
        to === state &&
        attempt.startedAt <= claim.endedAt &&
        (isOutcomeUnknown(attempt) || attempt.endedAt >= oppositeAt),
    );
  };
  const rejected = history.filter(({ code }) => claims[code ?? '']);
  return {
    promise: 'a rejection tells whether a subscription is active',
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
