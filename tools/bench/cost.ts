// Measures what the outbox, the log and traces cost POST /subscriptions. Variants of the service run, each on a database of
// its own: unchanged, with an insert that writes no event, without a log, and with traces.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { resetData, type Sizes } from './data.ts';
import { targetOf } from './endpoints.ts';
import type { Row, Section } from './report.ts';
import { connections } from './requests.ts';
import { type Case, interleave, type Plan, ratio } from './rounds.ts';
import { createBenchDatabase, type Servers, startParts } from './stack.ts';
import { loadHttp } from './wrk.ts';

const variantsOf = (collectorUrl: string) => [
  { name: 'unchanged', options: {} },
  { name: 'without outbox', options: { script: () => ['tools/bench/variant-main.ts'] } },
  { name: 'without log', options: { env: { LOG_LEVEL: 'silent' } } },
  { name: 'with traces', options: { env: { OTEL_EXPORTER_OTLP_ENDPOINT: collectorUrl } } },
];

/** Takes every export and forgets it. Its CPU time counts as that of the load. */
async function startCollector(): Promise<{ url: string; stop(): Promise<unknown> }> {
  const server = createServer((request, response) => request.resume().once('end', () => response.end('{}')));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, stop: async () => server.close() };
}

export async function measureCost(servers: Servers, sizes: Sizes, plan: Plan): Promise<Section> {
  const cases: Case[] = [];
  const stops: (() => Promise<unknown>)[] = [];
  const collector = await startCollector();
  for (const [index, { name, options }] of variantsOf(collector.url).entries()) {
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
  const [unchanged, withoutOutbox, withoutLog, withTraces] = cases.map(({ name }) => rounds[name]);
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
    {
      measure: 'cost of outbox and log',
      what: 'POST /subscriptions: service CPU with traces / without',
      value: ratio(withTraces, unchanged, ({ cpu }) => cpu.service ?? 0),
      goal: { atMost: 1.3 },
    },
  ];
  for (const stop of [...stops, collector.stop]) await stop();
  return { name: 'cost', rows, cases: rounds, skipped: [] };
}
