// A circuit breaker for one service: opossum's, with a third outcome.
import type { Logger } from '@promopulse/shared/telemetry/logger';
import CircuitBreaker from 'opossum';
import { z } from 'zod';

export const breakerConfig = {
  /** The breaker opens when more than this percentage of the calls in the window failed … */
  BREAKER_ERROR_PERCENT: z.coerce.number().int().min(1).max(99).default(50),
  /** … and the window has at least this many calls. */
  BREAKER_MIN_CALLS: z.coerce.number().int().min(1).max(10_000).default(5),
  BREAKER_WINDOW_MS: z.coerce.number().int().min(100).max(600_000).default(10_000),
  /** From opening to the trial call. */
  BREAKER_RESET_MS: z.coerce.number().int().min(10).max(600_000).default(5_000),
};

export type BreakerSettings = z.infer<z.ZodObject<typeof breakerConfig>>;
/** What a call says about the service. `neutral`: nothing, for example because the client has hung up. */
export type BreakerOutcome = 'answered' | 'failed' | 'neutral';
export type BreakerState = 'closed' | 'open' | 'half_open';

const callFailed = new Error('the call failed');

/**
 * closed: every call runs; too many failures open the breaker. open: no call runs; after `BREAKER_RESET_MS` the breaker is
 * half open. half_open: one call runs, as a trial. `answered` closes the breaker, `failed` opens it, and after `neutral`
 * the next call is the trial.
 *
 * opossum has no neutral outcome: a call that returns closes a half-open breaker, and a call that throws opens it.
 */
export class Breaker {
  readonly #name: string;
  readonly #resetMs: number;
  readonly #log: Logger;
  /** opossum keeps this object and reads `resetTimeout` from it each time that it opens. */
  readonly #options: { resetTimeout: number };
  readonly #circuit: CircuitBreaker<[call: () => Promise<BreakerOutcome>], void>;
  #openedAt = 0;
  #openings = 0;
  #repeatingTrial = false;

  constructor(name: string, settings: BreakerSettings, log: Logger) {
    this.#name = name;
    this.#resetMs = settings.BREAKER_RESET_MS;
    this.#log = log;
    const options = {
      name,
      timeout: false as const, // a call has its own timeout, which ends with the headers of the response
      errorThresholdPercentage: settings.BREAKER_ERROR_PERCENT,
      volumeThreshold: settings.BREAKER_MIN_CALLS,
      rollingCountTimeout: settings.BREAKER_WINDOW_MS,
      resetTimeout: settings.BREAKER_RESET_MS,
      rollingPercentilesEnabled: false,
      enableSnapshots: false,
    };
    this.#options = options;
    this.#circuit = new CircuitBreaker((call) => this.#run(call), options);
    this.#circuit.on('open', () => this.#onOpen());
    this.#circuit.on('close', () => log.info({ upstream: name }, 'breaker closed'));
  }

  /** Runs `call` and counts its outcome. @returns false, at once, when the breaker does not run it */
  async tryRun(call: () => Promise<BreakerOutcome>): Promise<boolean> {
    try {
      await this.#circuit.fire(call);
      return true;
    } catch (error) {
      return error === callFailed;
    }
  }

  state(): BreakerState {
    if (this.#circuit.opened) return 'open';
    return this.#circuit.halfOpen ? 'half_open' : 'closed';
  }

  /** How often it has opened since the start. */
  get openings(): number {
    return this.#openings;
  }

  /** Whole seconds until the breaker may run a call again, at least 1. */
  retryAfter(): number {
    const remainingMs = this.#openedAt + this.#resetMs - Date.now();
    return Math.max(1, Math.ceil(remainingMs / 1_000));
  }

  close(): void {
    this.#circuit.shutdown();
  }

  async #run(call: () => Promise<BreakerOutcome>): Promise<void> {
    const outcome = await call();
    if (outcome === 'failed') throw callFailed;
    if (outcome === 'neutral' && this.#circuit.halfOpen) this.#repeatTrial();
  }

  /** opossum will count this call as a success. Opening the breaker for 0 ms first prevents that from closing it. */
  #repeatTrial(): void {
    this.#repeatingTrial = true;
    this.#options.resetTimeout = 0;
    this.#circuit.open();
    this.#options.resetTimeout = this.#resetMs;
    this.#repeatingTrial = false;
  }

  #onOpen(): void {
    if (this.#repeatingTrial) return;
    this.#openedAt = Date.now();
    this.#openings += 1;
    this.#log.warn({ upstream: this.#name }, 'breaker opened');
  }
}
