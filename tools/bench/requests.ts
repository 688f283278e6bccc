// Rows 2, 3, 4 and 10: three requests, each as pgbench's bare statement, of our service, through our gateway, and of
// the same server written by hand on Express and on Fastify.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { withClient } from '@promopulse/shared/database/provision';
import { freePort } from '../../local/ports.ts';
import { findPromotion } from '../../services/promotions/src/queries.ts';
import { insertIfAllowed, listSubscriptions } from '../../services/subscriptions/src/queries.ts';
import { metadata, perUser, type Sizes, takeBack } from './data.ts';
import { type PeerName, startPeer } from './peers.ts';
import { findPgbench, pgbench, type Script, statementOf } from './pgbench.ts';
import { residentMemory } from './processes.ts';
import { profiling } from './profile.ts';
import type { Row, Section } from './report.ts';
import { type Case, interleave, type Plan, type Round, ratio, wholeCpu } from './rounds.ts';
import { allParts, type Place, type Servers, type Started, startParts } from './stack.ts';
import { type LoadOptions, loadHttp, type Target } from './wrk.ts';

export const connections = 16;
const pageSize = 20;

export const kinds = ['post', 'get', 'list'] as const;
export type Kind = (typeof kinds)[number];

export function target(kind: Kind, url: string, sizes: Sizes): Target {
  if (kind === 'post') {
    const body = `{"user_id":{a},"promotion_id":{b},"metadata":${metadata}}`;
    return { url, method: 'POST', path: '/subscriptions', body, a: sizes.users, b: sizes.promotions };
  }
  if (kind === 'get') return { url, method: 'GET', path: '/promotions/{a}', a: sizes.promotions };
  const path = `/subscriptions?user_id={a}&limit=${pageSize}`;
  return { url, method: 'GET', path, a: sizes.subscriptions / perUser };
}

/** The service that answers, and the role that its statement runs as. */
const owner = { post: 'subscriptions', get: 'promotions', list: 'subscriptions' } as const;

async function bareScript(kind: Kind, { users, promotions, subscriptions }: Sizes): Promise<Script> {
  const someone = { user_id: 1, promotion_id: 1, metadata: JSON.parse(metadata) };
  const cause = { eventId: randomUUID(), requestId: randomUUID() };
  if (kind === 'post') {
    return {
      statement: await statementOf((database) => insertIfAllowed(database, someone, 5, cause)),
      values: [':user', ':promotion', '5', `'${metadata}'`, 'gen_random_uuid()', 'gen_random_uuid()::text'],
      set: { user: `random(1, ${users})`, promotion: `random(1, ${promotions})` },
    };
  }
  if (kind === 'get') {
    const statement = await statementOf((database) => findPromotion(database, 1));
    return { statement, values: [':id'], set: { id: `random(1, ${promotions})` } };
  }
  const page = { by: 'user', id: 1, limit: pageSize, offset: 0 } as const;
  const statement = await statementOf((database) => listSubscriptions(database, page));
  return {
    statement,
    values: [':id', String(pageSize + 1), '0', "'infinity'", '0'],
    set: { id: `random(1, ${subscriptions / perUser})` },
  };
}

export interface Requests {
  servers: Servers;
  /** With services, and without any. */
  served: Place;
  bare: Place;
  parts: Record<string, Started>;
  peers: Record<PeerName, { url: string; pid: number }>;
  /** Resident memory in MB by part: at rest after the start, and the most after a round of load. */
  idle: Record<string, number>;
  memory: Record<string, number>;
}

/** @param profiles folder for the services' CPU profiles, if they are wanted */
export async function prepareRequests(
  servers: Servers,
  served: Place,
  bare: Place,
  profiles: string | undefined,
): Promise<Requests> {
  const options = profiles ? { script: (part: string) => profiling(profiles, part) } : {};
  const parts = await startParts(servers, served, allParts, options);
  const peers = {
    Express: await startPeer(servers, served, 'Express', await freePort()),
    Fastify: await startPeer(servers, served, 'Fastify', await freePort()),
  };
  await sleep(2_000);
  const idle = Object.fromEntries(Object.entries(parts).map(([name, { pid }]) => [name, residentMemory(pid)]));
  return { servers, served, bare, parts, peers, idle, memory: {} };
}

export function memorySection({ idle, memory }: Requests): Section {
  const rows = [
    { state: 'idle', values: idle },
    { state: 'under load', values: memory },
  ].flatMap(({ state, values }) =>
    Object.entries(values).map(([part, value]): Row => {
      const what = `resident memory of ${part}, ${state}`;
      return { row: 9, what, value: { median: value, min: value, max: value }, unit: 'MB', goal: { atMost: 120 } };
    }),
  );
  return { name: 'memory', rows, cases: {}, skipped: [] };
}

/** Everything that may work for a request: for a peer's POST our relay, too, which publishes what the peer wrote. */
export function componentsOf(
  { servers, parts }: Pick<Requests, 'servers' | 'parts'>,
  more: Record<string, number> = {},
): Record<string, number> {
  const ours = Object.entries(parts).map(([name, { pid }]) => [name, pid]);
  return { ...Object.fromEntries(ours), postgres: servers.postgresPid, rabbitmq: servers.rabbitPid, ...more };
}

async function casesOf(kind: Kind, requests: Requests): Promise<{ cases: Case[]; skipped: string[] }> {
  const { servers, served, bare, parts, peers, memory } = requests;
  const remember = (): void => {
    for (const [name, { pid }] of Object.entries(parts)) {
      memory[name] = Math.max(memory[name] ?? 0, residentMemory(pid));
    }
  };
  const http = (name: string, url: string, components: () => Record<string, number>): Case => ({
    name: `${kind} ${name}`,
    components,
    ...(kind === 'post' && { prepare: () => takeBack(served.sql, served.sizes) }),
    run: async (seconds) => {
      const options: LoadOptions = { connections, seconds };
      const load = await loadHttp(servers.folder, target(kind, url, served.sizes), options);
      remember();
      return load;
    },
  });
  const cases = [
    http('direct', parts[owner[kind]]?.url ?? '', () => componentsOf(requests)),
    http('gateway', parts.gateway?.url ?? '', () => componentsOf(requests)),
    ...Object.entries(peers).map(([name, { url, pid }]) =>
      http(name, url, () => componentsOf(requests, { peer: pid })),
    ),
  ];
  if (!findPgbench()) {
    return { cases, skipped: [`${kind}: pgbench is not installed (postgresql-contrib), so there is no floor`] };
  }
  const script = await bareScript(kind, bare.sizes);
  const floor: Case = {
    name: `${kind} pgbench`,
    components: () => ({ postgres: servers.postgresPid }),
    ...(kind === 'post' && { prepare: () => takeBack(bare.sql, bare.sizes) }),
    run: (seconds) => pgbench(servers.folder, bare.urls[owner[kind]] ?? '', script, { clients: connections, seconds }),
  };
  return { cases: [floor, ...cases], skipped: [] };
}

const goals = {
  post: { row: 2, direct: 0.4, gateway: 0.25, name: 'POST /subscriptions' },
  get: { row: 3, direct: 0.25, gateway: undefined, name: 'GET /promotions/{id}' },
  list: { row: 4, direct: 0.3, gateway: undefined, name: 'GET /subscriptions?user_id=' },
} as const;

export async function measureRequests(kind: Kind, requests: Requests, plan: Plan): Promise<Section> {
  const { cases, skipped } = await casesOf(kind, requests);
  const rounds = await interleave(cases, plan);
  const of = (name: string): Round[] => rounds[`${kind} ${name}`] ?? [];
  const { row, direct, gateway, name } = goals[kind];
  const against = (what: string, number: number, [above, below]: [string, string], atLeast: number): Row => ({
    row: number,
    what: `${name} ${what}`,
    value: ratio(of(above), of(below)),
    byCpu: ratio(of(below), of(above), wholeCpu),
    goal: { atLeast },
  });
  const rows = [
    against('direct / Express + pg', 10, ['direct', 'Express'], 0.9),
    against('direct / Fastify + pg', 10, ['direct', 'Fastify'], 0.8),
  ];
  if (of('pgbench').length > 0) {
    rows.push(against('direct / pgbench', row, ['direct', 'pgbench'], direct));
    if (gateway !== undefined) {
      rows.push(against('through the gateway / pgbench', row, ['gateway', 'pgbench'], gateway));
    }
  }
  const trips = await countRoundTrips(kind, requests);
  rows.push({
    row: 4,
    what: `${name}: SQL round trips per request`,
    value: { median: trips, min: trips, max: trips },
    goal: { atMost: 1 },
  });
  if (trips > 1) throw new Error(`${name} takes ${trips} SQL round trips`);
  return { name: kind, rows, cases: rounds, skipped };
}

/** What a service does by itself, with or without requests. */
const background = /^(outbox_|projection_|ready\b)/;

/** Counts every statement of the service that the server's log shows while requests are made one by one. */
async function countRoundTrips(kind: Kind, { servers, served, parts }: Requests): Promise<number> {
  const requests = 100;
  const marks = [randomUUID(), randomUUID()] as const;
  const admin = servers.postgres.url();
  const set = async (statement: string): Promise<void> => {
    await withClient(admin, async (client) => {
      await client.query(statement);
      await client.query('select pg_reload_conf()');
    });
  };
  await set(`alter system set log_line_prefix = '%a|'`);
  await set(`alter system set log_statement = 'all'`);
  await sleep(300); // until every session has read it
  await withClient(admin, (client) => client.query(`select '${marks[0]}'`));
  for (let index = 0; index < requests; index += 1) {
    const { method, path, body, a = 1, b = 1 } = target(kind, '', served.sizes);
    const random = (most: number): string => String(1 + Math.floor(Math.random() * most));
    const filled = (text: string): string => text.replaceAll('{a}', random(a)).replaceAll('{b}', random(b));
    const answer = await fetch(`${parts[owner[kind]]?.url}${filled(path)}`, {
      method,
      ...(body && { body: filled(body), headers: { 'content-type': 'application/json' } }),
    });
    await answer.arrayBuffer();
    if (!answer.ok) throw new Error(`${method} ${path} was answered with ${answer.status}`);
  }
  await withClient(admin, (client) => client.query(`select '${marks[1]}'`));
  await set('alter system reset log_statement');
  const log = readFileSync(servers.postgresLog, 'utf8');
  const between = log.slice(log.indexOf(marks[0]), log.indexOf(marks[1])).split('\n');
  const executed = between.flatMap((line) => {
    const found = new RegExp(`^promopulse-${owner[kind]}\\|LOG:  (?:execute|statement:?) (.*)`).exec(line)?.[1];
    return found !== undefined && !background.test(found) ? [found] : [];
  });
  return executed.length / requests;
}
