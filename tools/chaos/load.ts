// A mixed load through the gateway at a steady rate, whatever the responses are. What is sent next follows from the
// seed and from what has been acknowledged so far. Every request is in the history.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../../local/random.ts';
import type { Canary } from './canary.ts';
import { type Attempt, isSuccess, type RequestKind } from './history.ts';
import { LoadClient } from './load-client.ts';
import { LoadEntities } from './load-entities.ts';
import { loadMix, pickOperation } from './load-mix.ts';
import { LoadOperations } from './load-operations.ts';

interface LoadOptions {
  url: string;
  random: Random;
  /** Operations per second. */
  perSecond: number;
  /** Marks every email and phone. */
  canary: Canary;
  /** An API key, where callers need one. */
  credential?: string | undefined;
  /** Whether half of the writes carry an `Idempotency-Key` and are sent again until they are answered. Default true. */
  retries?: boolean;
  /** Kinds that are never sent. Default: none. */
  without?: readonly RequestKind[];
  /** Milliseconds until a request is given up. Default 8,000. */
  timeoutMs?: number;
}

export interface Load {
  history: readonly Attempt[];
  /** Operations that were not started because too many were in flight. */
  skipped(): number;
  /** From now on half of the operations are of these kinds, in equal parts. */
  prioritize(kinds: readonly RequestKind[]): void;
  /** The id of an active promotion that the load itself does not use any more. @throws Error when there is none in 30 s */
  takeActive(): Promise<number>;
  /** Ends the promotion. Users then try to subscribe, as after every end. @throws Error when it has no success in 30 s */
  end(promotionId: number): Promise<Attempt>;
  subscribe(promotionId: number): Promise<Attempt>;
  /** Sends nothing more and waits for what is in flight. */
  stop(): Promise<void>;
}

const maxInFlight = 200;
const maxCatchUpMs = 1_000;
const retryTimeoutMs = 30_000;
const retryEveryMs = 200;

export function startLoad({ random, perSecond, canary, without = [], ...options }: LoadOptions): Load {
  const client = new LoadClient({ random, ...options });
  const entities = new LoadEntities(random);
  const operations = new LoadOperations({ client, entities, random, canary });
  const mix = loadMix(entities, operations).filter(({ kind }) => !without.includes(kind));
  let skipped = 0;
  let isRunning = true;
  let prioritized: readonly RequestKind[] = [];

  const sending = (async () => {
    for (let at = performance.now(); isRunning; at += 1_000 / perSecond) {
      // After a pause of the whole machine the load catches up for one second at most, not in a long burst.
      at = Math.max(at, performance.now() - maxCatchUpMs);
      await sleep(Math.max(0, at - performance.now()));
      if (client.inFlight >= maxInFlight) skipped += 1;
      else client.track(pickOperation(mix, random, prioritized).run());
    }
  })();

  return {
    history: client.history,
    skipped: () => skipped,
    prioritize: (kinds) => {
      prioritized = kinds;
    },
    // The newest, because the fewest users are subscribed to it already.
    takeActive: () => retry('no promotion is active', async () => entities.active.pop()),
    end: (id) =>
      retry(`promotion ${id} cannot be ended`, async () => {
        const attempt = await operations.end(id);
        return isSuccess(attempt) ? attempt : undefined;
      }),
    subscribe: (id) => operations.subscribeAnyUser(id),
    stop: async () => {
      isRunning = false;
      await sending;
      await client.stop();
    },
  };
}

async function retry<Result>(failure: string, attempt: () => Promise<Result | undefined>): Promise<Result> {
  for (const deadline = Date.now() + retryTimeoutMs; ; await sleep(retryEveryMs)) {
    const result = await attempt();
    if (result !== undefined) return result;
    if (Date.now() > deadline) throw new Error(failure);
  }
}
