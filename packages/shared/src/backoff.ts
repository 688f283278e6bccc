// Waiting between attempts: doubling, capped, and jittered so that many who failed together do not return together.
import { setTimeout as delay } from 'node:timers/promises';

export interface BackOff {
  delayMs: number;
  maxDelayMs: number;
}

/** Milliseconds to wait after the `attempt`-th attempt (from 1): between half and the whole of the step. */
export function backOffMs(attempt: number, { delayMs, maxDelayMs }: BackOff): number {
  const step = Math.min(maxDelayMs, delayMs * 2 ** Math.min(attempt - 1, 30));
  return step * (0.5 + Math.random() / 2);
}

/** Resolves after `ms`, or at once when `signal` aborts. Never rejects. */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  await delay(ms, undefined, signal ? { signal } : undefined).catch(() => undefined);
}

/** Waits for `work` to end, however, but no longer than `ms` or until `giveUp` aborts. @returns whether it ended */
export async function settleWithin(
  ms: number,
  work: Promise<unknown>,
  giveUp = new AbortController(),
): Promise<boolean> {
  const ended = work.then(
    () => true,
    () => true,
  );
  const inTime = await Promise.race([ended, sleep(ms, giveUp.signal).then(() => false)]);
  giveUp.abort(); // ends the timer
  return inTime;
}
