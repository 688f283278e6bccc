// A mixed load through the gateway at a steady rate, whatever the responses are. What is sent next follows from the
// seed and from what has been acknowledged so far. Every request is in the history.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Canary } from './canary.ts';
import type { Attempt, RequestKind } from './history.ts';
import { LoadClient } from './load-client.ts';
import { LoadEntities } from './load-entities.ts';
import { loadMix, pickOperation } from './load-mix.ts';
import { LoadOperations } from './load-operations.ts';
import type { Random } from './random.ts';

interface LoadOptions {
  url: string;
  random: Random;
  /** Operations per second. */
  perSecond: number;
  /** Marks every email and phone. */
  canary: Canary;
}

export interface Load {
  history: readonly Attempt[];
  /** Operations that were not started because too many were in flight. */
  skipped(): number;
  /** From now on half of the operations are of these kinds, in equal parts. */
  prioritize(kinds: readonly RequestKind[]): void;
  /** Sends nothing more and waits for what is in flight. */
  stop(): Promise<void>;
}

const maxInFlight = 200;
const maxCatchUpMs = 1_000;

export function startLoad({ url, random, perSecond, canary }: LoadOptions): Load {
  const client = new LoadClient(url);
  const entities = new LoadEntities(random);
  const mix = loadMix(entities, new LoadOperations({ client, entities, random, canary }));
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
    stop: async () => {
      isRunning = false;
      await sending;
      await client.stop();
    },
  };
}
