// Waiting between attempts. The delay doubles, has a maximum, and is jittered, so that processes that failed together
// do not retry together.
import { setTimeout as delay } from 'node:timers/promises';

export interface BackOff {
  /** Delay after the first attempt, in milliseconds. */
  delayMs: number;
  maxDelayMs: number;
}

/** Milliseconds to wait after the `attempt`-th attempt (counted from 1): 50 % to 100 % of the doubled delay. */
export function backOffMs(attempt: number, { delayMs, maxDelayMs }: BackOff): number {
  const step = Math.min(maxDelayMs, delayMs * 2 ** Math.min(attempt - 1, 30));
  return step * (0.5 + Math.random() / 2);
}

/** Resolves after `ms` milliseconds, or at once when `signal` aborts. Never rejects. */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  await delay(ms, undefined, signal ? { signal } : undefined).catch(() => undefined);
}

/**
 * Waits until `work` settles, at most `ms` milliseconds, or until `abort` aborts. Aborts `abort` at the end, whatever
 * happened. Never rejects.
 * @returns whether `work` settled (fulfilled or rejected)
 */
export async function settleWithin(
  ms: number,
  work: Promise<unknown>,
  abort = new AbortController(),
): Promise<boolean> {
  const settled = work.then(
    () => true,
    () => true,
  );
  const inTime = await Promise.race([settled, sleep(ms, abort.signal).then(() => false)]);
  abort.abort(); // ends the timer
  return inTime;
}
