// Waits for an outcome.
import { setTimeout as sleep } from 'node:timers/promises';

/** TEST_SCALE=full, as CI has it: tests that scale take the time for the whole figures of docs/reliability.md. */
export const fullScale = process.env.TEST_SCALE === 'full';

/** Repeats `assertion` until it passes; after `timeoutMs` its last failure is thrown. */
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
