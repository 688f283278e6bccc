// The log of requests beyond a quota. A line for each of them would cost more than the request.
import type { Logger } from '@promopulse/shared/telemetry/logger';

const maxActors = 5;

/**
 * States: quiet, and, for one second after the first refusal, counting. The second ends with one log line: how many were
 * refused, and which actors they came from. An address is personal data and is not logged.
 */
export class RefusalLog {
  readonly #log: Logger;
  readonly #message: string;
  readonly #actors = new Set<string>();
  #refused = 0;
  #total = 0;

  constructor(log: Logger, message: string) {
    this.#log = log;
    this.#message = message;
  }

  /** Requests refused since the start. */
  get total(): number {
    return this.#total;
  }

  /** @param actor null when nobody knows who calls */
  add(actor: string | null): void {
    if (this.#refused === 0) setTimeout(() => this.#logCount(), 1_000).unref();
    this.#refused += 1;
    this.#total += 1;
    if (actor !== null && this.#actors.size < maxActors) this.#actors.add(actor);
  }

  #logCount(): void {
    const actors = this.#actors.size > 0 ? { actors: [...this.#actors] } : {};
    this.#log.warn({ refused: this.#refused, ...actors }, this.#message);
    this.#refused = 0;
    this.#actors.clear();
  }
}
