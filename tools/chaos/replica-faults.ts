// Faults of the processes of services and of the gateway.
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServiceName } from '@promopulse/shared/contracts/services';
import { withClient } from '@promopulse/shared/database/provision';
import type { Replica } from '../../local/replica.ts';
import type { CrashPoint } from './crash-points.ts';
import type { Inject, Injection, InjectionResult } from './injection.ts';
import type { Stack } from './stack.ts';

const crashTimeoutMs = 30_000;

export function replicasOf({ replicas }: Stack, part: string): [Replica, Replica] {
  return replicas.filter((replica) => replica.part === part) as [Replica, Replica];
}

/** Stops both replicas of a part in order, and starts them again after `work`, also when it fails. */
export async function whileStopped<Result>(stack: Stack, part: string, work: () => Promise<Result>): Promise<Result> {
  const replicas = replicasOf(stack, part);
  await Promise.all(replicas.map((replica) => replica.stop()));
  try {
    return await work();
  } finally {
    await Promise.all(replicas.map((replica) => replica.start()));
  }
}

function replicaNamed({ replicas }: Stack, wanted: string): Replica {
  const replica = replicas.find(({ name }) => name === wanted);
  if (!replica) throw new Error(`there is no replica ${wanted}`);
  return replica;
}

/** SIGKILL. The other replica is left, so recovery counts from the kill. */
export async function kill(stack: Stack, { target, holdMs }: Injection): Promise<InjectionResult> {
  const replica = replicaNamed(stack, target);
  const recoverFrom = Date.now();
  await replica.kill();
  await sleep(holdMs);
  await replica.start();
  return { recoverFrom };
}

/** SIGSTOP: the process keeps its connections, locks and unacknowledged messages, and does nothing. */
export async function freeze(stack: Stack, { target, holdMs }: Injection): Promise<InjectionResult> {
  const replica = replicaNamed(stack, target);
  replica.freeze();
  await sleep(holdMs);
  replica.thaw();
  return { recoverFrom: Date.now() };
}

/**
 * Kills a replica at a crash point. One replica at a time leads the relay and one consumes, so the other replica is
 * restarted first: then this one takes over, and reaches the point.
 * @param description what is half done at the point
 */
export function crashAt(point: CrashPoint, description: string): Inject {
  return async (stack, { target }) => {
    const [first, second] = replicasOf(stack, target);
    await first.stop();
    await first.start(['tools/chaos/crash-main.ts', target, point]);
    await second.stop();
    await second.start();
    if (!(await first.waitForCrash(crashTimeoutMs))) throw new Error(`${first.name} never had ${description}`);
    const recoverFrom = Date.now();
    await first.start();
    return { recoverFrom, note: `${first.name} died with ${description}` };
  };
}

/** SIGTERM to one replica after another. */
export async function rollingRestart({ replicas }: Stack): Promise<InjectionResult> {
  const stopTimesMs: number[] = [];
  for (const replica of replicas) {
    stopTimesMs.push(await replica.stop());
    await replica.start();
  }
  return { recoverFrom: Date.now(), note: `the slowest stop took ${Math.round(Math.max(...stopTimesMs))} ms` };
}

let emptyDatabases = 0;

/** Starts two spare replicas at the same time on an empty database: one migrates, both serve. */
export async function startOnEmptyDatabase(stack: Stack, { target }: Injection): Promise<InjectionResult> {
  emptyDatabases += 1;
  const { replicas, databaseUrl } = await stack.spareReplicas(target as ServiceName, `empty_${emptyDatabases}`);
  await Promise.all(replicas.map((replica) => replica.start()));
  const migrations = await withClient(databaseUrl, async (client) => {
    const { rows } = await client.query<{ name: string }>(`select name from ${target}.mikro_orm_migrations`);
    return rows.map(({ name }) => name);
  });
  await Promise.all(replicas.map((replica) => replica.stop()));
  if (migrations.length === 0 || new Set(migrations).size !== migrations.length) {
    throw new Error(`migrated ${migrations.length} times: ${migrations.join(', ')}`);
  }
  return { recoverFrom: Date.now(), note: `${migrations.length} migration(s), each once` };
}
