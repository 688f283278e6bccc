// What can go wrong, each fault a small program on the running mesh. Every one puts back what it took away.
import { setTimeout as sleep } from 'node:timers/promises';
import { withClient } from '../packages/shared/src/provision.ts';
import { type Mesh, type Service, services } from './mesh.ts';
import type { Link } from './network.ts';
import type { Replica } from './replica.ts';

export interface Strike {
  fault: string;
  target: string;
  /** How long what was taken away stays away, in milliseconds. */
  holdMs: number;
}

export interface Struck {
  /** From here the mesh is expected to recover: what was taken away is back, or will stay away with a replica left. */
  recoverFrom: number;
  note?: string;
}

interface Fault {
  name: string;
  /** Each of them happens at least once. `chosen`: one is enough, which one follows from the seed. */
  targets: readonly string[];
  chosen?: boolean;
  /** Shortest and longest hold, in milliseconds. */
  hold: readonly [number, number];
  strike(mesh: Mesh, strike: Strike): Promise<Struck>;
}

const parts = [...services, 'gateway'];
const http = [
  'client→gateway',
  ...services.map((service) => `gateway→${service}`),
  'subscriptions→users',
  'subscriptions→promotions',
];
const toPostgres = [...services.map((service) => `${service}→postgres`), '*→postgres'];
const toRabbit = [...services.map((service) => `${service}→rabbit`), '*→rabbit'];

export const faults: readonly Fault[] = [
  { name: 'kill', targets: parts.flatMap((part) => [`${part}-1`, `${part}-2`]), hold: [500, 2_000], strike: kill },
  { name: 'relay-death', targets: ['promotions', 'users'], hold: [0, 0], strike: relayDeath },
  { name: 'consumer-death', targets: ['subscriptions'], hold: [0, 0], strike: consumerDeath },
  { name: 'rabbit-restart', targets: ['rabbit'], hold: [1_000, 4_000], strike: rabbitRestart },
  { name: 'postgres-restart', targets: ['postgres'], hold: [500, 3_000], strike: postgresRestart('fast') },
  { name: 'postgres-crash', targets: ['postgres'], hold: [500, 3_000], strike: postgresRestart('immediate') },
  ...network('cut', [2_000, 3_500], cutAgainAndAgain),
  ...network('stall', [3_000, 7_000], stall, [11_000, 14_000]),
  ...network('slow', [3_000, 5_000], slow),
  { name: 'rolling-restart', targets: ['everything'], hold: [0, 0], strike: rollingRestart },
  { name: 'empty-start', targets: services, chosen: true, hold: [0, 0], strike: emptyStart },
];

function network(
  name: string,
  hold: Fault['hold'],
  act: (links: Link[], holdMs: number) => Promise<Struck>,
  rabbitHold = hold, // a half-open link to RabbitMQ is found by its heartbeats, which take longer
): Fault[] {
  const strike: Fault['strike'] = (mesh, { target, holdMs }) => act(linksTo(mesh, target), holdMs);
  return [
    { name: `${name}-http`, targets: http, chosen: true, hold, strike },
    { name: `${name}-postgres`, targets: toPostgres, chosen: true, hold, strike },
    { name: `${name}-rabbit`, targets: toRabbit, chosen: true, hold: rabbitHold, strike },
  ];
}

function linksTo({ links }: Mesh, target: string): Link[] {
  const found = links.filter(({ name }) => name === target || (target[0] === '*' && name.endsWith(target.slice(1))));
  if (found.length === 0) throw new Error(`there is no link ${target}`);
  return found;
}

function replicasOf({ replicas }: Mesh, part: string): [Replica, Replica] {
  return replicas.filter((each) => each.part === part) as [Replica, Replica];
}

async function kill({ replicas }: Mesh, { target, holdMs }: Strike): Promise<Struck> {
  const replica = replicas.find(({ name }) => name === target);
  if (!replica) throw new Error(`there is no replica ${target}`);
  const recoverFrom = Date.now();
  await replica.kill();
  await sleep(holdMs);
  await replica.start();
  return { recoverFrom };
}

/** The replica that is to die takes the lead when the other one is stopped, and dies of its first event. */
async function relayDeath(mesh: Mesh, { target }: Strike): Promise<Struck> {
  const [first, second] = replicasOf(mesh, target);
  await first.stop();
  await first.start(['chaos/service-main.ts', target, 'after-publish']);
  const dying = first.dies(30_000);
  await second.stop();
  await second.start();
  if (!(await dying)) throw new Error(`${first.name} did not die between publish and mark within 30 s`);
  const recoverFrom = Date.now();
  await first.start();
  return { recoverFrom, note: `${first.name} died with an event published and not marked` };
}

async function consumerDeath(mesh: Mesh, { target }: Strike): Promise<Struck> {
  const [first] = replicasOf(mesh, target);
  await first.stop();
  const starting = first.start(['chaos/service-main.ts', target, 'before-ack']).catch(() => undefined); // it may die before it is ready
  const died = await first.dies(60_000);
  await starting;
  if (!died) throw new Error(`${first.name} did not die between commit and acknowledgement within 60 s`);
  const recoverFrom = Date.now();
  await first.start();
  return { recoverFrom, note: `${first.name} died with an event applied and not acknowledged` };
}

async function rabbitRestart({ rabbit }: Mesh, { holdMs }: Strike): Promise<Struck> {
  await rabbit.ctl(['stop_app']);
  await sleep(holdMs);
  await rabbit.ctl(['start_app']);
  return { recoverFrom: Date.now() };
}

function postgresRestart(how: 'fast' | 'immediate'): Fault['strike'] {
  return async ({ postgres }, { holdMs }) => {
    await postgres.stop(how);
    await sleep(holdMs);
    await postgres.start();
    return { recoverFrom: Date.now() };
  };
}

async function cutAgainAndAgain(links: Link[], holdMs: number): Promise<Struck> {
  for (const until = Date.now() + holdMs; Date.now() < until; ) {
    for (const link of links) link.cut();
    await sleep(300);
  }
  return { recoverFrom: Date.now() };
}

async function stall(links: Link[], holdMs: number): Promise<Struck> {
  for (const link of links) link.stall();
  await sleep(holdMs);
  for (const link of links) link.resume();
  return { recoverFrom: Date.now() };
}

async function slow(links: Link[], holdMs: number): Promise<Struck> {
  for (const link of links) link.slow(60);
  await sleep(holdMs);
  for (const link of links) link.slow(0);
  return { recoverFrom: Date.now(), note: '60 ms more each way' };
}

async function rollingRestart({ replicas }: Mesh): Promise<Struck> {
  const took: number[] = [];
  for (const replica of replicas) {
    took.push(await replica.stop());
    await replica.start();
  }
  return { recoverFrom: Date.now(), note: `a stop took ${Math.round(Math.max(...took))} ms at most` };
}

let started = 0;

/** Two replicas at the same moment on a database that has nothing: one migrates, both serve. */
async function emptyStart(mesh: Mesh, { target }: Strike): Promise<Struck> {
  started += 1;
  const { replicas, databaseUrl } = await mesh.strangers(target as Service, `empty_${started}`);
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
