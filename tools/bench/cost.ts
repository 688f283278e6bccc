// Row 8: what the outbox and the log cost a POST. Three of the same service, each on a database of its own: as it is,
// with an insert that writes no event, and without a log.
import { type Sizes, takeBack } from './data.ts';
import type { Section } from './report.ts';
import { connections, target } from './requests.ts';
import { type Case, interleave, type Plan, ratio } from './rounds.ts';
import { createPlace, type Servers, startParts } from './stack.ts';
import { loadHttp } from './wrk.ts';

export async function measureCost(servers: Servers, sizes: Sizes, plan: Plan): Promise<Section> {
  const variants = [
    { name: 'as it is', options: {} },
    { name: 'without outbox', options: { script: () => ['tools/bench/variant-main.ts'] } },
    { name: 'without log', options: { env: { LOG_LEVEL: 'silent' } } },
  ];
  const cases: Case[] = [];
  const stops: (() => Promise<unknown>)[] = [];
  for (const [index, { name, options }] of variants.entries()) {
    const place = await createPlace(servers, `variant${index + 1}`, sizes);
    const { subscriptions } = await startParts(servers, place, ['subscriptions'], options);
    if (!subscriptions) throw new Error('the service did not start');
    stops.push(subscriptions.stop);
    cases.push({
      name: `post ${name}`,
      components: () => ({ service: subscriptions.pid, postgres: servers.postgresPid, rabbitmq: servers.rabbitPid }),
      prepare: () => takeBack(place.sql, place.sizes),
      run: (seconds) =>
        loadHttp(servers.folder, target('post', subscriptions.url, place.sizes), { connections, seconds }),
    });
  }
  const rounds = await interleave(cases, plan);
  const [whole, withoutOutbox, withoutLog] = cases.map(({ name }) => rounds[name]);
  const rows = [
    {
      row: 8,
      what: 'POST with outbox / without',
      value: ratio(whole, withoutOutbox),
      goal: { atLeast: 0.85 },
    },
    {
      row: 8,
      what: 'POST: CPU of the service with its log / without',
      value: ratio(whole, withoutLog, ({ cpu }) => cpu.service ?? 0),
      goal: { atMost: 1.2 },
    },
  ];
  for (const stop of stops) await stop();
  return { name: 'cost', rows, cases: rounds, skipped: [] };
}
