// Injects the faults of a plan one after another, each once the stack has recovered from the one before.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Lifecycle } from '../../local/lifecycle.ts';
import type { Check } from './check.ts';
import { injectFault } from './faults.ts';
import { writeKinds } from './history.ts';
import type { Injection } from './injection.ts';
import type { Load } from './load.ts';
import type { Plan } from './plan.ts';
import { type CompletedInjection, missingSigns, type Recovery } from './recovery.ts';
import type { Stack } from './stack.ts';

/**
 * RabbitMQ gives up a silent consumer after two to three heartbeats of 5 s, and then redelivers its messages. The rest
 * is for a busy machine, on which an event may take longer than the second for which a response waits.
 */
const recoveryTimeoutMs = 90_000;

interface InjectOptions {
  plan: Plan;
  /** Minimum duration. */
  minutes: number;
}

/** Injects every required fault, and further ones until `minutes` have passed. A signal ends it early. */
export async function injectAll(
  stack: Stack,
  load: Load,
  lifecycle: Lifecycle,
  { plan, minutes }: InjectOptions,
): Promise<CompletedInjection[]> {
  const completed: CompletedInjection[] = [];
  await waitForRecovery(Date.now(), load, lifecycle);
  const until = Date.now() + minutes * 60_000;
  for (let index = 0; index < plan.required.length || Date.now() < until; index += 1) {
    if (lifecycle.isStopping()) return completed;
    load.prioritize(writeKinds);
    const injection = await injectOne(stack, plan.required[index] ?? plan.further(), load, lifecycle);
    completed.push(injection);
    await waitForRecovery(injection.recoverFrom, load, lifecycle);
  }
  return completed;
}

async function injectOne(
  stack: Stack,
  injection: Injection,
  load: Load,
  { say }: Lifecycle,
): Promise<CompletedInjection> {
  const startedAt = Date.now();
  const { fault, target, holdMs } = injection;
  say(`${fault} ${target}${holdMs > 0 ? ` for ${(holdMs / 1_000).toFixed(1)} s` : ''}`);
  try {
    const result = await injectFault(stack, injection, load);
    if (result.note) say(`      ${result.note}`);
    return { ...injection, startedAt, ...result };
  } catch (error) {
    const failure = (error as Error).message;
    say(`      ${failure}`);
    return { ...injection, startedAt, recoverFrom: Date.now(), failure };
  }
}

/** Waits until every sign of recovery was seen since `time`, for up to 90 s. The load sends what can show the rest. */
async function waitForRecovery(time: number, load: Load, lifecycle: Lifecycle): Promise<void> {
  const deadline = Date.now() + recoveryTimeoutMs;
  while (!lifecycle.isStopping() && Date.now() < deadline) {
    const missing = missingSigns(time, load.history);
    load.prioritize(missing.map(({ requestKind }) => requestKind));
    if (missing.length === 0) return;
    await sleep(100);
  }
}

export function checkRecoveries(recoveries: readonly Recovery[]): Check {
  const breaches = recoveries.flatMap(({ fault, target, afterMs, failure }) => [
    ...(failure ? [`${fault} ${target}: ${failure}`] : []),
    ...Object.entries(afterMs)
      .filter(([, ms]) => ms === undefined || ms > recoveryTimeoutMs)
      .map(([sign, ms]) => `${fault} ${target}: ${sign} ${ms === undefined ? 'never' : `after ${ms} ms`}`),
  ]);
  return {
    promise: 'after every fault writes of every kind succeed again, and projections are updated',
    examined: `${recoveries.length} faults, within ${recoveryTimeoutMs / 1_000} s each`,
    breaches,
  };
}
