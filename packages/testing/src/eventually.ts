// Waiting for a condition.
import { setTimeout as sleep } from 'node:timers/promises';

/** Repeats `assertion` until it passes. @returns its result @throws its last error after `timeoutMs` milliseconds */
export async function eventually<Result>(
  assertion: () => Result | Promise<Result>,
  { timeoutMs = 10_000, everyMs = 25 } = {},
): Promise<Result> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    try {
      return await assertion();
    } catch (error) {
      if (Date.now() >= deadline) throw error;
      await sleep(everyMs);
    }
  }
}
