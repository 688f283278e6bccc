// What can go wrong, each fault a small program on the running mesh. Every one puts back what it took away.
import { setTimeout as sleep } from 'node:timers/promises';
import { type ServiceName, services } from '@promopulse/shared/contracts/services';
import { withClient } from '@promopulse/shared/database/provision';
import type { Replica } from '../../local/replica.ts';
import type { CrashPoint } from './crash-points.ts';
import type { Link } from './network.ts';
import type { Stack } from './stack.ts';

export interface Strike {
  fault: string;
  target: string;
  /** How long what was taken away stays away, in milliseconds. */
  holdMs: number;
  /** Of a pair: the second begins in the middle of the first. */
  parts?: [Strike, Strike];
}

export interface Struck {
  /** From here the mesh is expected to recover: what was taken away is back, or will stay away with a replica left. */
  recoverFrom: number;
  note?: string;
}

interface Fault {
  name: string;
  targets: readonly string[];
  /** Of the targets, those that are struck in every run; and one more, of the seed's choice, when these are not all. */
  always: readonly string[];
  /** Shortest and longest hold, in milliseconds. */
  hold: readonly [number, number];
  strike(stack: Stack, strike: Strike): Promise<Struck>;
}

const replicaNames = [...services, 'gateway'].flatMap((part) => [`${part}-1`, `${part}-2`]);
const http = [
  'client→gateway',
  ...services.map((service) => `gateway→${service}`),
  'subscriptions→users',
  'subscriptions→promotions',
];
/** Of one replica, of both, of everybody. */
const waysTo = (server: string): string[] => [
  ...services.flatMap((service) => [`${service}-1→${server}`, `${service}-2→${server}`, `${service}-*→${server}`]),
  `*→${server}`,
];

/** What was delivered to it is neither applied nor given to its neighbour, which goes on. */
const deafReplica = ['subscriptions-1→rabbit'];

export const faults: readonly Fault[] = [
  { name: 'kill', targets: replicaNames, always: replicaNames, hold: [500, 2_000], strike: kill },
  { name: 'freeze', targets: replicaNames, always: [], hold: [3_000, 9_000], strike: freeze },
  {
    name: 'relay-death',
    targets: ['promotions', 'users'],
    always: [],
    hold: [0, 0],
    strike: deathAt('publish-confirmed', 'an event published and not marked'),
  },
  {
    name: 'consumer-death',
    targets: ['subscriptions'],
    always: ['subscriptions'],
    hold: [0, 0],
    strike: deathAt('applied', 'an event applied and not acknowledged'),
  },
  { name: 'rabbit-restart', targets: ['rabbit'], always: ['rabbit'], hold: [1_000, 4_000], strike: rabbitRestart },
  { name: 'rabbit-crash', targets: ['rabbit'], always: ['rabbit'], hold: [500, 3_000], strike: rabbitCrash },
  { name: 'rabbit-alarm', targets: ['rabbit'], always: ['rabbit'], hold: [6_000, 9_000], strike: rabbitAlarm },
  {
    name: 'postgres-restart',
    targets: ['postgres'],
    always: ['postgres'],
    hold: [500, 3_000],
    strike: postgresRestart('fast'),
  },
  {
    name: 'postgres-crash',
    targets: ['postgres'],
    always: ['postgres'],
    hold: [500, 3_000],
    strike: postgresRestart('immediate'),
  },
  {
    name: 'postgres-kill',
    targets: ['postgres'],
    always: ['postgres'],
    hold: [500, 3_000],
    strike: postgresRestart('kill'),
  },
  ...network('cut', [2_000, 3_500], cutAgainAndAgain),
  // A half-open link to RabbitMQ is found by its heartbeats, which take longer.
  ...network('stall', [3_000, 7_000], stall, { hold: [11_000, 14_000], always: deafReplica }),
  ...network('forget', [0, 0], forget, { hold: [0, 0], always: [] }),
  ...network('slow', [3_000, 5_000], slow),
  { name: 'rolling-restart', targets: ['everything'], always: ['everything'], hold: [0, 0], strike: rollingRestart },
  { name: 'empty-start', targets: services, always: [], hold: [0, 0], strike: emptyStart },
  { name: 'pair', targets: ['first', 'second'], always: ['first', 'second'], hold: [0, 0], strike: pair },
];

/** Of these, two from different groups can strike at once: each takes away something else. */
export const pairable: readonly (readonly string[])[] = [
  ['kill', 'freeze'],
  ['rabbit-restart', 'rabbit-crash', 'rabbit-alarm'],
  ['postgres-restart', 'postgres-crash', 'postgres-kill'],
  ['cut-http', 'stall-http', 'slow-http'],
  ['cut-postgres', 'stall-postgres', 'slow-postgres'],
  ['cut-rabbit', 'stall-rabbit', 'slow-rabbit'],
];

export async function strikeWith(stack: Stack, strike: Strike): Promise<Struck> {
  const fault = faults.find(({ name }) => name === strike.fault);
  if (!fault) throw new Error(`there is no fault ${strike.fault}`);
  return await fault.strike(stack, strike);
}

function network(
  name: string,
  hold: Fault['hold'],
  act: (links: Link[], holdMs: number) => Promise<Struck>,
  toRabbit: Pick<Fault, 'hold' | 'always'> = { hold, always: [] },
): Fault[] {
  const strike: Fault['strike'] = (stack, { target, holdMs }) => act(linksTo(stack, target), holdMs);
  return [
    { name: `${name}-http`, targets: http, always: [], hold, strike },
    { name: `${name}-postgres`, targets: waysTo('postgres'), always: [], hold, strike },
    { name: `${name}-rabbit`, targets: waysTo('rabbit'), ...toRabbit, strike },
  ];
}

function linksTo({ links }: Stack, target: string): Link[] {
  const [before = '', after] = target.split('*');
  const found = links.filter(({ name }) =>
    after === undefined ? name === target : name.startsWith(before) && name.endsWith(after),
  );
  if (found.length === 0) throw new Error(`there is no link ${target}`);
  return found;
}

function replicasOf({ replicas }: Stack, part: string): [Replica, Replica] {
  return replicas.filter((each) => each.part === part) as [Replica, Replica];
}

function replicaNamed({ replicas }: Stack, wanted: string): Replica {
  const replica = replicas.find(({ name }) => name === wanted);
  if (!replica) throw new Error(`there is no replica ${wanted}`);
  return replica;
}

async function kill(stack: Stack, { target, holdMs }: Strike): Promise<Struck> {
  const replica = replicaNamed(stack, target);
  const recoverFrom = Date.now();
  await replica.kill();
  await sleep(holdMs);
  await replica.start();
  return { recoverFrom };
}

/** SIGSTOP: its connections stay open and nothing comes out of them, its locks and its unacknowledged messages stay its own. */
async function freeze(stack: Stack, { target, holdMs }: Strike): Promise<Struck> {
  const replica = replicaNamed(stack, target);
  replica.freeze();
  await sleep(holdMs);
  replica.thaw();
  return { recoverFrom: Date.now() };
}

/** The replica that is to die takes over while the other one restarts (one leads the relay, one consumes), and then dies. */
function deathAt(moment: CrashPoint, holding: string): Fault['strike'] {
  return async (stack, { target }) => {
    const [first, second] = replicasOf(stack, target);
    await first.stop();
    await first.start(['tools/chaos/crash-main.ts', target, moment]);
    await second.stop();
    await second.start();
    if (!(await first.dies(30_000))) throw new Error(`${first.name} did not come to die with ${holding}`);
    const recoverFrom = Date.now();
    await first.start();
    return { recoverFrom, note: `${first.name} died with ${holding}` };
  };
}

async function rabbitRestart({ rabbit }: Stack, { holdMs }: Strike): Promise<Struck> {
  await rabbit.ctl(['stop_app']);
  await sleep(holdMs);
  await rabbit.ctl(['start_app']);
  return { recoverFrom: Date.now() };
}

/** SIGKILL: what was on its way to the disk is lost, and every connection ends without a word. */
async function rabbitCrash({ rabbit }: Stack, { holdMs }: Strike): Promise<Struck> {
  await rabbit.kill();
  await sleep(holdMs);
  await rabbit.start();
  return { recoverFrom: Date.now() };
}

/** Under a memory alarm RabbitMQ reads nothing from whoever publishes. */
async function rabbitAlarm({ rabbit }: Stack, { holdMs }: Strike): Promise<Struck> {
  await rabbit.ctl(['set_vm_memory_high_watermark', '0.00001']);
  await sleep(holdMs);
  await rabbit.ctl(['set_vm_memory_high_watermark', '0.4']);
  return { recoverFrom: Date.now() };
}

function postgresRestart(how: 'fast' | 'immediate' | 'kill'): Fault['strike'] {
  return async ({ postgres }, { holdMs }) => {
    await postgres.stop(how);
    await sleep(holdMs);
    await postgres.start();
    return { recoverFrom: Date.now() };
  };
}

/** Both are put back before anything is thrown. */
async function pair(stack: Stack, { parts }: Strike): Promise<Struck> {
  if (!parts) throw new Error('a pair has two parts');
  const [first, second] = parts;
  const struck = await Promise.allSettled([
    strikeWith(stack, first),
    sleep(first.holdMs / 2).then(() => strikeWith(stack, second)),
  ]);
  const ends = struck.map((each) => {
    if (each.status === 'rejected') throw each.reason;
    return each.value.recoverFrom;
  });
  return { recoverFrom: Math.max(...ends) };
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

/** The mesh has to find out by itself, at both ends of each connection. */
async function forget(links: Link[]): Promise<Struck> {
  for (const link of links) link.forget();
  return { recoverFrom: Date.now() };
}

async function slow(links: Link[], holdMs: number): Promise<Struck> {
  for (const link of links) link.slow(60);
  await sleep(holdMs);
  for (const link of links) link.slow(0);
  return { recoverFrom: Date.now(), note: '60 ms more each way' };
}

async function rollingRestart({ replicas }: Stack): Promise<Struck> {
  const took: number[] = [];
  for (const replica of replicas) {
    took.push(await replica.stop());
    await replica.start();
  }
  return { recoverFrom: Date.now(), note: `a stop took ${Math.round(Math.max(...took))} ms at most` };
}

let started = 0;

/** Two replicas at the same moment on a database that has nothing: one migrates, both serve. */
async function emptyStart(stack: Stack, { target }: Strike): Promise<Struck> {
  started += 1;
  const { replicas, databaseUrl } = await stack.strangers(target as ServiceName, `empty_${started}`);
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
