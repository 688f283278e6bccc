// Measures events: batches through the gateway and at the service, beside pgbench with the same statement and beside
// single subscriptions in the same run; a batch on few and on many stored events; a series of a week and of a year.
import { recordEvents } from '../../services/engagement/src/queries.ts';
import { keepFresh, resetData } from './data.ts';
import { targetOf } from './endpoints.ts';
import { countReceipts, fewEvents, fillEvents, resetEvents } from './event-data.ts';
import { type PgbenchScript, runPgbench, statementOf } from './pgbench.ts';
import { findPgbench } from './programs.ts';
import type { Row, Section } from './report.ts';
import { connections } from './requests.ts';
import { type Case, interleave, type Load, type Plan, type Round, ratio, type Spread, totalCpu } from './rounds.ts';
import { type BenchDatabase, createBenchDatabase, type Servers, type Started, startParts } from './stack.ts';
import { loadHttp, type Target } from './wrk.ts';

const batchSize = 100;
/** Of how many promotions the events of a batch are. */
const promotionsOfBatch = 10;
const day = 86_400_000;
/** A batch of 100 is worth as many events; the goal is 20 times the requests that subscribe. */
const goals = { pgbench: 0.5, subscriptions: 20, growth: 1.2, year: 1.2 };

/** With the day that has begun. */
const pointsOf = { week: 8, year: 366 };

const sizes = { users: 10_000, promotions: 1_000, subscriptions: 10_000 };

export async function measureEvents(servers: Servers, plan: Plan): Promise<Section> {
  const stored = plan.quick ? 200_000 : 10_000_000;
  const small = await createBenchDatabase(servers, 'events', sizes);
  const large = await createBenchDatabase(servers, 'manyevents', sizes);
  plan.say(`storing ${stored} events …`);
  await fillEvents(small, fewEvents);
  await fillEvents(large, stored);
  const bare = await createBenchDatabase(servers, 'bareevents', sizes);
  await fillEvents(bare, fewEvents);
  const endFreshness = await keepFresh(bare.sql, 'engagement');
  const parts = await startParts(servers, small, ['users', 'promotions', 'subscriptions', 'engagement', 'gateway']);
  // With its owners, as the other: without them it would try to read them all the time.
  const atLarge = await startParts(servers, large, ['users', 'promotions', 'subscriptions', 'engagement']);
  const cases = await casesOf({ servers, small, large, bare, parts, atLarge });
  const rounds = await interleave(cases, plan);
  await endFreshness();
  await Promise.all([...Object.values(parts), ...Object.values(atLarge)].map((part) => part.stop()));
  const skipped = findPgbench() ? [] : ['events: pgbench is not installed (postgresql-contrib)'];
  return { name: 'events', rows: rowsOf(rounds, stored), cases: rounds, skipped };
}

interface Measured {
  servers: Servers;
  small: BenchDatabase;
  large: BenchDatabase;
  bare: BenchDatabase;
  parts: Record<string, Started>;
  atLarge: Record<string, Started>;
}

async function casesOf({ servers, small, large: largeDatabase, bare, parts, atLarge }: Measured): Promise<Case[]> {
  const gateway = parts.gateway?.url ?? '';
  const [service, large] = [parts.engagement as Started, atLarge.engagement as Started];
  const http = (name: string, target: Target, of: Started, prepare?: () => Promise<void>): Case => ({
    name,
    components: () => ({
      ...{ service: of.pid, postgres: servers.postgresPid },
      ...(target.url === gateway && { gateway: parts.gateway?.pid ?? 0 }),
    }),
    ...(prepare && { prepare }),
    run: (seconds) => loadHttp(servers.folder, target, { connections, seconds }),
  });
  const batches = (name: string, url: string, of: Started, database: BenchDatabase): Case => {
    const prepare = database === small ? () => resetEvents(small) : undefined;
    const each = http(name, batchTarget(url), of, prepare);
    return { ...each, run: (seconds) => allAccepted(database, () => each.run(seconds)) };
  };
  const subscriptions = parts.subscriptions as Started;
  return [
    batches('events gateway', gateway, service, small),
    batches('events direct', service.url, service, small),
    ...(findPgbench() ? [await pgbenchCase(servers, bare)] : []),
    http('subscribe gateway', targetOf('post', gateway, sizes), subscriptions, () =>
      resetData(small.sql, 'subscriptions', sizes),
    ),
    batches('events on many', large.url, large, largeDatabase),
    ...(['week', 'year'] as const).map((name) => http(`series of a ${name}`, seriesTarget(large.url, name), large)),
  ];
}

/** @throws when a hundredth of the events was not accepted: those cost less, so another thing would be measured */
async function allAccepted(database: BenchDatabase, load: () => Promise<Load>): Promise<Load> {
  const before = await countReceipts(database);
  const done = await load();
  const after = await countReceipts(database);
  const accepted = after.accepted - before.accepted;
  if (accepted < 0.99 * Math.max(after.received - before.received, done.count * batchSize)) {
    throw new Error(`${accepted} of ${done.count * batchSize} events were accepted`);
  }
  return done;
}

/** Each event has an id of its own; they are from the last minutes, for promotions that are active. */
function batchTarget(url: string): Target {
  const occurred = new Date(Date.now() - 60_000).toISOString();
  const item = `{"id":"{n}","type":"view","promotion_id":{a},"visitor":"v{b}","occurred_at":"${occurred}"}`;
  return { url, method: 'POST', path: '/events', body: item, batch: batchSize, a: promotionsOfBatch, b: 100_000 };
}

function seriesTarget(url: string, name: 'week' | 'year'): Target {
  const days = pointsOf[name] - 1;
  const [from, to] = [new Date(Date.now() - days * day), new Date()].map((time) => time.toISOString());
  return { url, method: 'GET', path: `/statistics?promotion_id=1&type=view&granularity=day&from=${from}&to=${to}` };
}

async function pgbenchCase(servers: Servers, bare: BenchDatabase): Promise<Case> {
  const script = await batchScript();
  return {
    name: 'events pgbench',
    components: () => ({ postgres: servers.postgresPid }),
    prepare: () => resetEvents(bare),
    run: (seconds) => runPgbench(servers.folder, bare.urls.engagement ?? '', script, { clients: connections, seconds }),
  };
}

/** The statement of a batch, with arrays that PostgreSQL makes. */
async function batchScript(): Promise<PgbenchScript> {
  const consulted = { promotions: [], missingPromotions: [], missingUsers: [] };
  const statement = await statementOf((database) =>
    recordEvents(database, [], { client: '', leaseSeconds: 5, consulted }),
  );
  const array = (expression: string, type: string): string =>
    `(select array_agg((${expression})::${type}) from generate_series(1, ${batchSize}) as n)`;
  const none = (type: string): string => `array_fill(null::${type}, array[${batchSize}])`;
  const values = [
    "'pgbench'",
    array('n', 'int'),
    array('gen_random_uuid()', 'text'),
    array("'view'", 'text'),
    array(`1 + (random() * ${promotionsOfBatch - 1})::int`, 'bigint'),
    none('bigint'),
    array("'v' || (random() * 100000)::int", 'text'),
    array("now() - interval '1 minute'", 'timestamptz'),
    none('text'),
    '5',
    ...Array.from({ length: 3 }, () => "'{}'::bigint[]"),
  ];
  return { statement, values };
}

function rowsOf(rounds: Record<string, Round[]>, stored: number): Row[] {
  const of = (name: string): Round[] => rounds[name] ?? [];
  const row = (what: string, value: Spread, goal: Row['goal']): Row => ({ measure: 'events', what, value, goal });
  const batches = `batches of ${batchSize} events`;
  const rows = [
    row(
      `${batches} through the gateway: events per second / POST /subscriptions`,
      scaled(ratio(of('events gateway'), of('subscribe gateway')), batchSize),
      { atLeast: goals.subscriptions },
    ),
    row(
      `${batches}: CPU at ${stored} stored events / ${fewEvents}`,
      ratio(of('events on many'), of('events direct'), totalCpu),
      { atMost: goals.growth },
    ),
    row(
      'statistics: CPU per point of a year / of a week',
      scaled(ratio(of('series of a year'), of('series of a week'), totalCpu), pointsOf.week / pointsOf.year),
      { atMost: goals.year },
    ),
  ];
  const bare = of('events pgbench');
  if (bare.length === 0) return rows;
  return [row(`${batches}: direct / pgbench`, ratio(of('events direct'), bare), { atLeast: goals.pgbench }), ...rows];
}

function scaled({ median, min, max }: Spread, factor: number): Spread {
  return { median: median * factor, min: min * factor, max: max * factor };
}
