// The end of a run: the state that the checks compare with the history.
import { type ApiState, readApiState } from './api-state.ts';
import { type DatabaseState, waitForQuiet } from './database-state.ts';
import type { Load } from './load.ts';
import { scrapeReplicas } from './scrape.ts';
import type { Stack } from './stack.ts';

export interface FinalState {
  databaseState: DatabaseState;
  apiState: ApiState;
  /** Milliseconds from the end of the load until the services were quiet. Undefined: not within the time limit. */
  quietAfterMs: number | undefined;
  /** The last scrape of each replica with metrics. */
  metrics: ReadonlyMap<string, string>;
}

/** Stops the load, waits until the services are quiet, reads their state and stops all replicas. */
export async function finishRun(stack: Stack, load: Load): Promise<FinalState> {
  await load.stop();
  const { databaseState, quietAfterMs } = await waitForQuiet(stack);
  const apiState = await readApiState(stack, databaseState);
  const metrics = await scrapeReplicas(stack.replicas);
  await Promise.all(stack.replicas.map((replica) => replica.stop()));
  return { databaseState, apiState, quietAfterMs, metrics };
}
