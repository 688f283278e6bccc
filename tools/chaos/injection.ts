// What it means to inject a fault: the types that the table of faults and their implementations share.
import type { Interval } from './ended-promotions.ts';
import type { Load } from './load.ts';
import type { Stack } from './stack.ts';

/** One use of a fault on one target. */
export interface Injection {
  fault: string;
  target: string;
  /** How long the fault lasts, in milliseconds. 0 where a fault has no duration of its own. */
  holdMs: number;
  /** For the fault `pair`: the second one starts halfway through the first. */
  parts?: [Injection, Injection];
}

export interface InjectionResult {
  /** From this time (milliseconds since the epoch) on the stack must recover: the fault is over, or a replica is left. */
  recoverFrom: number;
  note?: string;
  /** When the consumer had applied what the fault has undone. */
  undone?: Interval;
}

/** Injects the fault and removes it again. Only a fault that ends a promotion itself needs the load. */
export type Inject = (stack: Stack, injection: Injection, load: Load) => Promise<InjectionResult>;
