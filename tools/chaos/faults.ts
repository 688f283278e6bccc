// The table of faults: what can fail, on which targets, and for how long. Every fault is removed again by itself.
import { setTimeout as sleep } from 'node:timers/promises';
import { schemaOwners, services } from '@promopulse/shared/contracts/services';
import type { Inject, Injection, InjectionResult } from './injection.ts';
import type { Load } from './load.ts';
import { forgeEvents, lockRows, loseQueue, restartInHand, sendHeartbeatsAhead } from './loss-faults.ts';
import { cut, dropSilently, networkFault, slow, stall } from './network-faults.ts';
import { crashAt, freeze, kill, rollingRestart, startOnEmptyDatabase } from './replica-faults.ts';
import { crashRabbit, raiseRabbitAlarm, restartPostgres, restartRabbit } from './server-faults.ts';
import { setOwnerBack, setProjectionBack } from './set-back-faults.ts';
import type { Stack } from './stack.ts';

export interface Fault {
  name: string;
  targets: readonly string[];
  /** Targets of every run. When there are other targets, the seed adds one of those. */
  always: readonly string[];
  /** Shortest and longest duration, in milliseconds. */
  hold: readonly [min: number, max: number];
  inject: Inject;
}

const replicaNames = [...services, 'gateway'].flatMap((part) => [`${part}-1`, `${part}-2`]);
const httpTargets = [
  'client→gateway',
  ...services.map((service) => `gateway→${service}`),
  'subscriptions→users',
  'subscriptions→promotions',
  'engagement→users',
  'engagement→promotions',
  'engagement→subscriptions',
];
/** Connections of one replica, of both replicas of a part, and of all parts. */
const connectionsTo = (server: string, parts: readonly string[]): string[] => [
  ...parts.flatMap((part) => [`${part}-1→${server}`, `${part}-2→${server}`, `${part}-*→${server}`]),
  `*→${server}`,
];

/** RabbitMQ does not redeliver the messages of a silent consumer to the other replica until it gives it up. */
const silentReplica = ['subscriptions-1→rabbit'];

const onRabbit = { targets: ['rabbit'], always: ['rabbit'] };
const onPostgres = { targets: ['postgres'], always: ['postgres'], hold: [500, 3_000] } as const;

export const faults: readonly Fault[] = [
  { name: 'kill', targets: replicaNames, always: replicaNames, hold: [500, 2_000], inject: kill },
  { name: 'freeze', targets: replicaNames, always: [], hold: [3_000, 9_000], inject: freeze },
  {
    name: 'relay-death',
    targets: ['promotions', 'users'],
    always: [],
    hold: [0, 0],
    inject: crashAt('publish-confirmed', 'an event published and not marked'),
  },
  {
    name: 'consumer-death',
    targets: ['subscriptions'],
    always: ['subscriptions'],
    hold: [0, 0],
    inject: crashAt('applied', 'an event applied and not acknowledged'),
  },
  { name: 'rabbit-restart', ...onRabbit, hold: [1_000, 4_000], inject: restartRabbit },
  { name: 'rabbit-crash', ...onRabbit, hold: [500, 3_000], inject: crashRabbit },
  { name: 'rabbit-alarm', ...onRabbit, hold: [6_000, 9_000], inject: raiseRabbitAlarm },
  { name: 'postgres-restart', ...onPostgres, inject: restartPostgres('fast') },
  { name: 'postgres-crash', ...onPostgres, inject: restartPostgres('immediate') },
  { name: 'postgres-kill', ...onPostgres, inject: restartPostgres('kill') },
  ...networkFaults('cut', networkFault(cut), { hold: [2_000, 3_500] }),
  // RabbitMQ's heartbeats detect a half-open connection only after two to three intervals of 5 s.
  ...networkFaults('stall', networkFault(stall), {
    hold: [3_000, 7_000],
    rabbit: { hold: [11_000, 14_000], always: silentReplica },
  }),
  ...networkFaults('forget', networkFault(dropSilently), { hold: [0, 0] }),
  ...networkFaults('slow', networkFault(slow), { hold: [3_000, 5_000] }),
  { name: 'rolling-restart', targets: ['everything'], always: ['everything'], hold: [0, 0], inject: rollingRestart },
  { name: 'empty-start', targets: services, always: [], hold: [0, 0], inject: startOnEmptyDatabase },
  ...lossFaults(),
  { name: 'pair', targets: ['first', 'second'], always: ['first', 'second'], hold: [0, 0], inject: injectPair },
];

/** A pair takes its two faults from different groups, so that they disturb different things. */
export const pairable: readonly (readonly string[])[] = [
  ['kill', 'freeze'],
  ['rabbit-restart', 'rabbit-crash', 'rabbit-alarm'],
  ['postgres-restart', 'postgres-crash', 'postgres-kill'],
  ['cut-http', 'stall-http', 'slow-http'],
  ['cut-postgres', 'stall-postgres', 'slow-postgres'],
  ['cut-rabbit', 'stall-rabbit', 'slow-rabbit'],
];

/** @throws Error when there is no such fault, or when the injection itself fails */
export async function injectFault(stack: Stack, injection: Injection, load: Load): Promise<InjectionResult> {
  const fault = faults.find(({ name }) => name === injection.fault);
  if (!fault) throw new Error(`there is no fault ${injection.fault}`);
  return await fault.inject(stack, injection, load);
}

/** Lost, set back and forged data, each on every target of every run. */
function lossFaults(): Fault[] {
  const table: [name: string, targets: readonly string[], hold: Fault['hold'], inject: Inject][] = [
    ['queue-lost', ['deleted', 'purged'], [2_000, 5_000], loseQueue],
    ['owner-set-back', ['promotions', 'without-epoch'], [0, 0], setOwnerBack],
    ['projection-set-back', ['running', 'stopped'], [2_000, 5_000], setProjectionBack],
    // Longer than the lease, and than what the judge allows beyond it.
    ['clock-ahead', ['promotions'], [8_000, 10_000], sendHeartbeatsAhead],
    ['forged-events', ['everything'], [0, 0], forgeEvents],
    ['row-lock', ['cached_promotions'], [8_000, 12_000], lockRows],
    ['restart-in-hand', ['subscriptions'], [0, 0], restartInHand],
  ];
  return table.map(([name, targets, hold, inject]) => ({ name, targets, always: targets, hold, inject }));
}

/** One network fault on the three kinds of connections. */
function networkFaults(
  name: string,
  inject: Inject,
  { hold, rabbit = { hold, always: [] } }: { hold: Fault['hold']; rabbit?: Pick<Fault, 'hold' | 'always'> },
): Fault[] {
  return [
    { name: `${name}-http`, targets: httpTargets, always: [], hold, inject },
    { name: `${name}-postgres`, targets: connectionsTo('postgres', schemaOwners), always: [], hold, inject },
    { name: `${name}-rabbit`, targets: connectionsTo('rabbit', services), ...rabbit, inject },
  ];
}

/** Waits until both faults are removed, also when one of them fails. */
async function injectPair(stack: Stack, { parts }: Injection, load: Load): Promise<InjectionResult> {
  if (!parts) throw new Error('a pair has two parts');
  const [first, second] = parts;
  const results = await Promise.allSettled([
    injectFault(stack, first, load),
    sleep(first.holdMs / 2).then(() => injectFault(stack, second, load)),
  ]);
  const recoverTimes = results.map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value.recoverFrom;
  });
  return { recoverFrom: Math.max(...recoverTimes) };
}
