// Measures what the outbox and the log cost POST /subscriptions. Three variants of the service run, each on a database
// of its own: unchanged, with an insert that writes no event, and without a log.
import { resetData, type Sizes } from './data.ts';
import { targetOf } from './endpoints.ts';
import type { Row, Section } from './report.ts';
import { connections } from './requests.ts';
import { type Case, interleave, type Plan, ratio } from './rounds.ts';
import { createBenchDatabase, type Servers, startParts } from './stack.ts';
import { loadHttp } from './wrk.ts';

const variants = [
  { name: 'unchanged', options: {} },
  { name: 'without outbox', options: { script: () => ['tools/bench/variant-main.ts'] } },
  { name: 'without log', options: { env: { LOG_LEVEL: 'silent' } } },
];

export async function measureCost(servers: Servers, sizes: Sizes, plan: Plan): Promise<Section> {
  const cases: Case[] = [];
  const stops: (() => Promise<unknown>)[] = [];
  for (const [index, { name, options }] of variants.entries()) {
    const database = await createBenchDatabase(servers, `variant${index + 1}`, sizes);
    const { subscriptions } = await startParts(servers, database, ['subscriptions'], options);
    if (!subscriptions) throw new Error('the service did not start');
    stops.push(subscriptions.stop);
    const target = targetOf('post', subscriptions.url, sizes);
    cases.push({
      name: `post ${name}`,
      components: () => ({ service: subscriptions.pid, postgres: servers.postgresPid, rabbitmq: servers.rabbitPid }),
      prepare: () => resetData(database.sql, 'subscriptions', sizes),
      run: (seconds) => loadHttp(servers.folder, target, { connections, seconds }),
    });
  }
  const rounds = await interleave(cases, plan);
  const [unchanged, withoutOutbox, withoutLog] = cases.map(({ name }) => rounds[name]);
  const rows: Row[] = [
    {
      measure: 'cost of outbox and log',
      what: 'POST /subscriptions with outbox / without',
      value: ratio(unchanged, withoutOutbox),
      goal: { atLeast: 0.85 },
    },
    {
      measure: 'cost of outbox and log',
      what: 'POST /subscriptions: service CPU with log / without',
      value: ratio(unchanged, withoutLog, ({ cpu }) => cpu.service ?? 0),
      goal: { atMost: 1.2 },
    },
  ];
  for (const stop of stops) await stop();
  return { name: 'cost', rows, cases: rounds, skipped: [] };
}
