// A quota of each address. Each gateway counts alone, in memory, so that a stranger makes no gateway write to the database.
// R gateways grant R times the quota.
import type { IncomingMessage } from 'node:http';
import type { DomainError } from '@promopulse/shared/errors';
import type { Logger } from '@promopulse/shared/telemetry/logger';
import { Buckets, type Decision } from './buckets.ts';
import { addressKeyOf } from './client-key.ts';
import type { Policy } from './gcra.ts';
import { policyField, quotaExceeded } from './quota-fields.ts';
import { RefusalLog } from './refusal-log.ts';

export class AddressQuota {
  readonly #buckets: Buckets | undefined;
  readonly #policyText: string;
  readonly #refusals: RefusalLog;
  #taken = 0;

  /**
   * @param policy undefined: nothing is counted, and nobody is refused
   * @param refusedMessage of the log line that counts the refusals
   */
  constructor(policy: Policy | undefined, log: Logger, refusedMessage: string) {
    this.#buckets = policy && new Buckets([policy]);
    this.#policyText = policy ? policyField([policy]) : '';
    this.#refusals = new RefusalLog(log, refusedMessage);
  }

  /** How often `take` was called since the start, also without a policy. */
  get taken(): number {
    return this.#taken;
  }

  /** Requests refused since the start. */
  get refused(): number {
    return this.#refusals.total;
  }

  /** Uses a unit. @returns the 429 of an address that has none left */
  take(request: IncomingMessage): DomainError | undefined {
    this.#taken += 1;
    // Without a store the decision is there at once.
    const decision = this.#buckets?.take(addressKeyOf(request), 1) as Decision | undefined;
    return decision?.isAdmitted === false ? this.#refuse(decision) : undefined;
  }

  /** Uses nothing. @returns the 429 of an address that has no unit left */
  refusalOf(request: IncomingMessage): DomainError | undefined {
    const decision = this.#buckets?.refusalOf(addressKeyOf(request), 1);
    return decision && this.#refuse(decision);
  }

  #refuse(decision: Decision): DomainError {
    this.#refusals.add(null);
    return quotaExceeded(decision, this.#policyText);
  }
}
