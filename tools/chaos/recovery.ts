// The recovery after each fault: how long it took until a write of each kind began and succeeded, and until
// subscriptions applied a status change before its response (`Promopulse-Projection: applied`).
import { type Attempt, isSuccess, isUnanswered, type WriteKind, writeKinds } from './history.ts';
import type { Injection, InjectionResult } from './injection.ts';

export const recoverySigns = [...writeKinds, 'applied'] as const;
type RecoverySign = (typeof recoverySigns)[number];

function isSign(sign: RecoverySign, attempt: Attempt): boolean {
  return sign === 'applied' ? attempt.projection === 'applied' : attempt.kind === sign && isSuccess(attempt);
}

export interface CompletedInjection extends Injection, InjectionResult {
  /** Milliseconds since the epoch. */
  startedAt: number;
  /** The error of the injection itself, which is a breach. */
  failure?: string;
}

export interface Recovery extends CompletedInjection {
  /** Milliseconds from `recoverFrom` to each sign. Undefined: not before the load ended. */
  afterMs: Record<RecoverySign, number | undefined>;
  /** Requests between `startedAt` and the last sign. */
  requests: number;
  /** How many of these have an unknown outcome. */
  unknown: number;
}

export function recoveryOf(injection: CompletedInjection, history: readonly Attempt[]): Recovery {
  const { startedAt, recoverFrom } = injection;
  const afterMs = Object.fromEntries(
    recoverySigns.map((sign) => {
      const times = history
        .filter((attempt) => isSign(sign, attempt) && attempt.startedAt >= recoverFrom)
        .map(({ endedAt }) => endedAt - recoverFrom);
      return [sign, times.length > 0 ? Math.min(...times) : undefined];
    }),
  ) as Recovery['afterMs'];
  const recoveredAt = recoverFrom + Math.max(0, ...Object.values(afterMs).map((ms) => ms ?? 0));
  const during = history.filter((attempt) => attempt.endedAt >= startedAt && attempt.startedAt <= recoveredAt);
  return { ...injection, afterMs, requests: during.length, unknown: during.filter(isUnanswered).length };
}

/** @returns the signs not seen since `time`, each with the kind of request that can show it */
export function missingSigns(
  time: number,
  history: readonly Attempt[],
): { sign: RecoverySign; requestKind: WriteKind }[] {
  const recent = history.slice(-5_000).filter(({ startedAt }) => startedAt >= time);
  return recoverySigns
    .filter((sign) => !recent.some((attempt) => isSign(sign, attempt)))
    .map((sign) => ({ sign, requestKind: sign === 'applied' ? 'activate' : sign }));
}
