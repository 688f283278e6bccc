// How long the mesh took to come back after each fault: the first write of each kind that began afterwards and
// succeeded, and the first status change that subscriptions had applied when it was answered.
import type { Strike, Struck } from './faults.ts';
import { type Attempt, isOpen, isSuccess, type WriteKind, writeKinds } from './history.ts';

export const signs = [...writeKinds, 'in step'] as const;
type Sign = (typeof signs)[number];

function isSign(sign: Sign, attempt: Attempt): boolean {
  return sign === 'in step' ? attempt.projection === 'applied' : attempt.kind === sign && isSuccess(attempt);
}

export interface Outcome extends Strike, Struck {
  began: number;
  /** What went wrong in the fault itself; a breach. */
  failure?: string;
}

export interface Recovery extends Outcome {
  /** Milliseconds from `recoverFrom`; undefined: not before the load ended. */
  after: Record<Sign, number | undefined>;
  /** Requests that were under way between `began` and `recoverFrom` plus the slowest recovery, and had no success. */
  open: number;
  requests: number;
}

export function recoveryOf(outcome: Outcome, history: readonly Attempt[]): Recovery {
  const after = Object.fromEntries(
    signs.map((sign) => {
      const ends = history
        .filter((attempt) => isSign(sign, attempt) && attempt.began >= outcome.recoverFrom)
        .map(({ ended }) => ended - outcome.recoverFrom);
      return [sign, ends.length > 0 ? Math.min(...ends) : undefined];
    }),
  ) as Recovery['after'];
  const over = outcome.recoverFrom + Math.max(0, ...Object.values(after).map((ms) => ms ?? 0));
  const during = history.filter(({ began, ended }) => ended >= outcome.began && began <= over);
  return { ...outcome, after, requests: during.length, open: during.filter(isOpen).length };
}

/** What has not been seen since; `ask` is what to ask for to see it. */
export function missingSince(since: number, history: readonly Attempt[]): { sign: Sign; ask: WriteKind }[] {
  const recent = history.slice(-5_000).filter(({ began }) => began >= since);
  return signs
    .filter((sign) => !recent.some((attempt) => isSign(sign, attempt)))
    .map((sign) => ({ sign, ask: sign === 'in step' ? 'activate' : sign }));
}
