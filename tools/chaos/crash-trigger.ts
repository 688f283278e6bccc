// Decides, for every request or event that reaches a crash point, whether the process fails there.
import type { CrashPlan, CrashPoint, Failure } from './crash-points.ts';

type RequestIds = readonly (string | undefined)[];

const relayPoints: readonly CrashPoint[] = [
  'relay-woken',
  'outbox-read',
  'publish-sent',
  'publish-confirmed',
  'marked',
];

/** At these, one statement has the events of all planned requests. */
const batchPoints: readonly CrashPoint[] = ['before-apply', 'apply-sent', 'divided'];

/**
 * States: idle (no plan), armed (some of the planned requests have not reached the point), complete (all have). A plan
 * to die kills the process once it is complete; a plan to throw makes the trigger idle again.
 */
export class CrashTrigger {
  readonly #onReached: (point: CrashPoint, requestId: string) => void;
  #plan: CrashPlan | undefined;
  #missing = new Set<string>();
  #complete = Promise.withResolvers<void>();
  readonly #committed = new Set<string>();
  #allCommitted = Promise.withResolvers<void>();
  readonly #delivered = new Set<string>();
  #allDelivered = Promise.withResolvers<void>();

  /** @param onReached called for each planned request at the point, before the failure */
  constructor(onReached: (point: CrashPoint, requestId: string) => void) {
    this.#onReached = onReached;
  }

  /** Replaces any earlier plan. */
  arm(plan: CrashPlan): void {
    this.#plan = plan;
    this.#missing = new Set(plan.requests);
    this.#complete = Promise.withResolvers();
    this.#committed.clear();
    this.#allCommitted = Promise.withResolvers();
    this.#delivered.clear();
    this.#allDelivered = Promise.withResolvers();
  }

  isPlannedFor(point: CrashPoint, requestId: string): boolean {
    const plan = this.#plan;
    return plan?.point === point && (plan.requests === undefined || this.#missing.has(requestId));
  }

  recordCommit(requestId: string): void {
    this.#committed.add(requestId);
    if (this.#plan?.requests?.every((each) => this.#committed.has(each)) ?? true) this.#allCommitted.resolve();
  }

  /** Holds the relay back until all planned requests have committed, so that one read of the outbox finds all events. */
  async beforeOutboxRead(): Promise<void> {
    const plan = this.#plan;
    if (!plan || !relayPoints.includes(plan.point)) return;
    await this.#allCommitted.promise;
    await this.failAt('relay-woken', plan.requests ?? [...this.#committed]);
  }

  /** Holds the planned events back until the consumer has received all of them, so that one batch takes them. */
  async beforeBatch(requestId: string): Promise<void> {
    const plan = this.#plan;
    if (!plan || !batchPoints.includes(plan.point) || !this.isPlannedFor(plan.point, requestId)) return;
    this.#delivered.add(requestId);
    if (plan.requests?.every((each) => this.#delivered.has(each)) ?? true) this.#allDelivered.resolve();
    await this.#allDelivered.promise;
  }

  /** A point between two steps. */
  async failAt(point: CrashPoint, requestIds: RequestIds): Promise<void> {
    const failure = this.#reach(point, requestIds);
    if (failure === 'throw') throw new Error(`crash point ${point}`);
    if (failure === 'die') {
      await this.#complete.promise;
      die();
    }
  }

  /**
   * A point during a step: the step is sent, and its result is lost.
   * @param loseResult returns, or throws, what the caller gets in place of the result
   */
  async failDuring<Result>(
    point: CrashPoint,
    requestIds: RequestIds,
    send: () => Promise<Result>,
    loseResult: () => Result,
  ): Promise<Result> {
    const failure = this.#reach(point, requestIds);
    if (failure === 'die') {
      await this.#complete.promise;
      setImmediate(die); // by then the step has been written to its socket
    }
    const result = await send();
    return failure === 'throw' ? loseResult() : result;
  }

  /** A point in a synchronous callback: to die it does not run `proceed`, and dies once the plan is complete. */
  failInCallback(point: CrashPoint, requestId: string | undefined, proceed: () => void): void {
    const failure = this.#reach(point, [requestId]);
    if (failure === 'throw') throw new Error(`crash point ${point}`);
    if (failure === 'die') void this.#complete.promise.then(die);
    else proceed();
  }

  /** Records which planned requests are at the point. @returns how they fail; undefined: they do not */
  #reach(point: CrashPoint, requestIds: RequestIds): Failure | undefined {
    const planned = requestIds.filter((id): id is string => id !== undefined && this.isPlannedFor(point, id));
    if (!this.#plan || planned.length === 0) return undefined;
    const { failure } = this.#plan;
    for (const id of planned) {
      this.#missing.delete(id);
      this.#onReached(point, id);
    }
    if (this.#missing.size === 0) {
      this.#complete.resolve();
      if (failure === 'throw') this.#plan = undefined;
    }
    return failure;
  }
}

function die(): never {
  process.kill(process.pid, 'SIGKILL');
  throw new Error('the process survived its SIGKILL');
}
