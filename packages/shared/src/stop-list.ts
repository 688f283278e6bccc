// Stops what has been started, in the reverse order, within one time limit.
import type { Logger } from './telemetry/logger.ts';

/** @param remainingMs what is left of the time limit, in milliseconds; 0 when it has passed */
type Stop = (remainingMs: number) => Promise<unknown>;

/** States: collecting (parts are added as they start), then begun (each part is stopped, the last one first). */
export class StopList {
  readonly #log: Logger;
  readonly #timeoutMs: number;
  readonly #stops: Stop[] = [];
  #begun = false;

  constructor(log: Logger, timeoutMs: number) {
    this.#log = log;
    this.#timeoutMs = timeoutMs;
  }

  /** Whether `run` has been called. */
  get begun(): boolean {
    return this.#begun;
  }

  add(stop: Stop): void {
    this.#stops.push(stop);
  }

  /** Never rejects: it logs the error of a part that failed to stop, and continues with the next one. */
  async run(): Promise<void> {
    this.#begun = true;
    const deadline = Date.now() + this.#timeoutMs;
    for (const stop of this.#stops.splice(0).reverse()) {
      const remainingMs = Math.max(0, deadline - Date.now());
      await stop(remainingMs).catch((error: unknown) => this.#log.error({ err: error }, 'a part failed to stop'));
    }
    this.#log.info('stopped');
  }
}
