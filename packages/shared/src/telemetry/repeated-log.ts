// Warnings that requests cause. A line for each of them would cost more than the request, and a flood would fill the disk.
import type { Logger } from './logger.ts';

/** Different causes that are counted at a time. Further ones are counted together. */
const maxCauses = 100;
/** The cause of those. */
const together = '';

interface Counted {
  fields: Readonly<Record<string, unknown>>;
  repeated: number;
}

/**
 * One warning per cause and interval. States of a cause: quiet; and counting, for an interval after a line. The first one is
 * logged at once. An interval in which there were more ends with one line that has the latest fields and `repeated`, their
 * number; one without more leads back to quiet.
 */
export class RepeatedLog {
  readonly #log: Logger;
  readonly #message: string;
  readonly #intervalMs: number;
  readonly #causes = new Map<string, Counted>();

  constructor(log: Logger, message: string, intervalMs: number) {
    this.#log = log;
    this.#message = message;
    this.#intervalMs = intervalMs;
  }

  /** @param cause what is counted together */
  add(cause: string, fields: Readonly<Record<string, unknown>>): void {
    const key = this.#causes.has(cause) || this.#causes.size < maxCauses ? cause : together;
    const counted = this.#causes.get(key);
    if (counted) {
      counted.fields = fields;
      counted.repeated += 1;
      return;
    }
    this.#log.warn(fields, this.#message);
    this.#causes.set(key, { fields, repeated: 0 });
    this.#countFor(key);
  }

  #countFor(key: string): void {
    setTimeout(() => this.#endInterval(key), this.#intervalMs).unref();
  }

  #endInterval(key: string): void {
    const { fields, repeated } = this.#causes.get(key) as Counted;
    if (repeated === 0) {
      this.#causes.delete(key);
      return;
    }
    this.#log.warn({ ...fields, repeated }, this.#message);
    this.#causes.set(key, { fields, repeated: 0 });
    this.#countFor(key);
  }
}
