// How long the mesh took to come back after each fault: the first write of each kind that began afterwards and
// succeeded.
import type { Strike, Struck } from './faults.ts';
import { type Attempt, isOpen, isSuccess, isWrite, type WriteKind, writeKinds } from './history.ts';

export interface Outcome extends Strike, Struck {
  began: number;
  /** What went wrong in the fault itself; a breach. */
  failure?: string;
}

export interface Recovery extends Outcome {
  /** Milliseconds from `recoverFrom`; undefined: not before the load ended. */
  after: Record<WriteKind, number | undefined>;
  /** Requests that were under way between `began` and `recoverFrom` plus the slowest recovery, and had no success. */
  open: number;
  requests: number;
}

export function recoveryOf(outcome: Outcome, history: readonly Attempt[]): Recovery {
  const after = Object.fromEntries(
    writeKinds.map((kind) => {
      const ends = history
        .filter((attempt) => attempt.kind === kind && isSuccess(attempt) && attempt.began >= outcome.recoverFrom)
        .map(({ ended }) => ended - outcome.recoverFrom);
      return [kind, ends.length > 0 ? Math.min(...ends) : undefined];
    }),
  ) as Recovery['after'];
  const over = outcome.recoverFrom + Math.max(0, ...Object.values(after).map((ms) => ms ?? 0));
  const during = history.filter(({ began, ended }) => ended >= outcome.began && began <= over);
  return { ...outcome, after, requests: during.length, open: during.filter(isOpen).length };
}

/** The kinds of write that have not succeeded since. */
export function missingSince(since: number, history: readonly Attempt[]): WriteKind[] {
  const recent = history.slice(-5_000).filter((each) => isWrite(each) && isSuccess(each) && each.began >= since);
  return writeKinds.filter((kind) => !recent.some((each) => each.kind === kind));
}
