// What must be true after a rollout: no request failed, and the services agree on all that was acknowledged.
import type { Check } from './check.ts';
import { type DatabaseState, projectionDifferences, waitForQuiet, withoutEngagement } from './database-state.ts';
import { type Attempt, describeAttempt, isSuccess, isWrite } from './history.ts';
import type { Load } from './load.ts';
import { checkProcesses } from './process-checks.ts';
import type { RolloutStack } from './rollout-stack.ts';

const quietTimeoutMs = 120_000;
const maxShown = 20;

/** No answer, or one that says that a part could not do its work. */
const hasFailed = ({ status }: Attempt): boolean => status === 0 || status >= 500;

/** A replica of a release that does not know the type of an id would answer with a text. */
const hasWrongId = (attempt: Attempt): boolean =>
  isWrite(attempt) && isSuccess(attempt) && typeof attempt.id !== 'number';

/** Ends the load, and prints each promise with what was examined. @returns the number of breaches */
export async function checkRollout(stack: RolloutStack, load: Load, print: (line: string) => void): Promise<number> {
  await load.stop();
  // A rollout that ends with a release before engagement leaves its projections as they are.
  const compared = (state: DatabaseState): DatabaseState =>
    stack.isRunning('engagement') ? state : withoutEngagement(state);
  const { databaseState, quietAfterMs } = await waitForQuiet(stack, { timeoutMs: quietTimeoutMs, compared });
  const checks: Check[] = [
    ...checkRequests(load.history),
    { promise: 'no connection is refused', examined: 'every balancer', breaches: stack.refused() },
    checkCreations(load.history, databaseState),
    ...checkEvents(compared(databaseState), quietAfterMs),
    checkProcesses(stack),
  ];
  for (const { promise, examined, breaches } of checks) {
    print(`${breaches.length === 0 ? 'kept  ' : 'BROKEN'}  ${promise} (${examined})`);
    for (const line of breaches.slice(0, maxShown)) print(`        ${line.slice(0, 500)}`);
    if (breaches.length > maxShown) print(`        and ${breaches.length - maxShown} more`);
  }
  return checks.reduce((sum, { breaches }) => sum + breaches.length, 0);
}

function checkRequests(history: readonly Attempt[]): Check[] {
  const examined = `${history.length} requests`;
  const linesOf = (isWrong: (attempt: Attempt) => boolean) => history.filter(isWrong).map(describeAttempt);
  return [
    { promise: 'no request fails', examined, breaches: linesOf(hasFailed) },
    { promise: 'every id is a number', examined, breaches: linesOf(hasWrongId) },
  ];
}

function checkCreations(history: readonly Attempt[], { users, promotions, subscriptions }: DatabaseState): Check {
  const stored = new Set([
    ...users.map(({ id }) => `create user ${id}`),
    ...promotions.map(({ id }) => `create promotion ${id}`),
    ...subscriptions.map(({ id }) => `subscribe ${id}`),
  ]);
  const created = history.filter(({ kind, status }) => isCreation(kind) && status === 201);
  const lost = created.filter(({ kind, id }) => !stored.has(`${kind} ${id}`));
  return {
    promise: 'what was acknowledged is stored',
    examined: `${created.length} creations`,
    breaches: lost.map(describeAttempt),
  };
}

function checkEvents(state: DatabaseState, quietAfterMs: number | undefined): Check[] {
  const examined = `${state.events.length} events`;
  const waiting = state.events.filter(({ published }) => !published).length;
  return [
    { promise: 'no message becomes a dead letter', examined, breaches: state.deadLetters },
    {
      promise: 'every event is published, and the projections equal their owners',
      examined: quietAfterMs === undefined ? `${quietTimeoutMs} ms` : `after ${quietAfterMs} ms`,
      breaches: quietAfterMs === undefined ? [`${waiting} events wait`, ...projectionDifferences(state)] : [],
    },
  ];
}

function isCreation(kind: Attempt['kind']): boolean {
  return kind === 'create user' || kind === 'create promotion' || kind === 'subscribe';
}
