// An opossum circuit breaker that knows a third outcome. opossum has success, which closes a half-open breaker,
// and failure, which opens it; a client that hangs up says nothing about the service, so its call must do neither,
// and must not use up the one trial that a half-open breaker allows.
import type { Logger } from '@promopulse/shared/telemetry/logger';
import CircuitBreaker from 'opossum';
import { z } from 'zod';

export const breakerConfig = {
  /** Opens when more than this share of the calls in the window failed … */
  BREAKER_ERROR_PERCENT: z.coerce.number().int().min(1).max(99).default(50),
  /** … and there were at least this many. */
  BREAKER_MIN_CALLS: z.coerce.number().int().min(1).max(10_000).default(5),
  BREAKER_WINDOW_MS: z.coerce.number().int().min(100).max(600_000).default(10_000),
  /** From opening to the trial call. */
  BREAKER_RESET_MS: z.coerce.number().int().min(10).max(600_000).default(5_000),
};

export type BreakerSettings = z.infer<z.ZodObject<typeof breakerConfig>>;
export type Verdict = 'answered' | 'failed' | 'neutral';
export type BreakerState = 'closed' | 'open' | 'half_open';

export interface Breaker {
  /** Runs the call and counts its verdict; false, at once, when the breaker does not let it through. */
  admit(call: () => Promise<Verdict>): Promise<boolean>;
  state(): BreakerState;
  /** Whole seconds until a call may get through again. */
  retryAfter(): number;
  close(): void;
}

const failure = new Error('the call failed');

export function createBreaker(name: string, settings: BreakerSettings, log: Logger): Breaker {
  let openedAt = 0;
  // opossum keeps this object and reads resetTimeout from it each time it opens.
  const options = {
    name,
    timeout: false as const, // the call has its own, which ends with the response's headers
    errorThresholdPercentage: settings.BREAKER_ERROR_PERCENT,
    volumeThreshold: settings.BREAKER_MIN_CALLS,
    rollingCountTimeout: settings.BREAKER_WINDOW_MS,
    resetTimeout: settings.BREAKER_RESET_MS,
    rollingPercentilesEnabled: false,
    enableSnapshots: false,
  };
  const run = async (call: () => Promise<Verdict>): Promise<void> => {
    const verdict = await call();
    if (verdict === 'failed') throw failure;
    if (verdict === 'neutral' && circuit.halfOpen) offerTrialAgain();
  };
  const circuit = new CircuitBreaker(run, options);
  const state = (): BreakerState => (circuit.opened ? 'open' : circuit.halfOpen ? 'half_open' : 'closed');
  let offeringAgain = false;

  /** Passes through open, from where the success that opossum is about to note cannot close it. */
  function offerTrialAgain(): void {
    offeringAgain = true;
    options.resetTimeout = 0;
    circuit.open();
    options.resetTimeout = settings.BREAKER_RESET_MS;
    offeringAgain = false;
  }

  circuit.on('open', () => {
    if (offeringAgain) return;
    openedAt = Date.now();
    log.warn({ upstream: name }, 'breaker opened');
  });
  circuit.on('close', () => log.info({ upstream: name }, 'breaker closed'));

  return {
    async admit(call) {
      try {
        await circuit.fire(call);
        return true;
      } catch (error) {
        return error === failure;
      }
    },
    state,
    retryAfter() {
      const remaining = openedAt + settings.BREAKER_RESET_MS - Date.now();
      return Math.max(1, Math.ceil(remaining / 1_000));
    },
    close: () => circuit.shutdown(),
  };
}
