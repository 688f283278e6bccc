// Row 5: how long after a status change is committed the subscriptions service has committed it too. Both moments are
// the database's own (pg_xact_commit_timestamp of the two rows), so nothing is added to the way that is measured.
import { setTimeout as sleep } from 'node:timers/promises';
import { takeBack } from './data.ts';
import type { Section } from './report.ts';
import { componentsOf, connections, type Requests, target } from './requests.ts';
import { type Case, interleave, type Load, type Plan, spread } from './rounds.ts';
import type { Place } from './stack.ts';
import { loadHttp } from './wrk.ts';

const levels = [
  { name: '50/s', perSecond: 50, goal: 15, loaded: false },
  { name: '400/s', perSecond: 400, goal: 30, loaded: false },
  { name: '50/s under full POST load', perSecond: 50, goal: 100, loaded: true },
];

export async function measurePropagation({ servers, served: place, parts }: Requests, plan: Plan): Promise<Section> {
  const url = parts.promotions?.url ?? '';
  const subscribeUrl = parts.subscriptions?.url ?? '';
  const cases = levels.map(
    ({ name, perSecond, loaded }): Case => ({
      name: `propagation ${name}`,
      components: () => componentsOf({ servers, parts }),
      prepare: () => takeBack(place.sql, place.sizes),
      run: async (seconds) => {
        const drafts = await addDrafts(place, Math.ceil(perSecond * seconds));
        const load = { connections, seconds };
        const [changed] = await Promise.all([
          activate(url, drafts, perSecond),
          ...(loaded ? [loadHttp(servers.folder, target('post', subscribeUrl, place.sizes), load)] : []),
        ]);
        return await readDelays(place, changed, seconds);
      },
    }),
  );
  const rounds = await interleave(cases, { ...plan, warmUp: plan.warmUp / 20 });
  const rows = levels.map(({ name, goal }) => {
    const late = spread((rounds[`propagation ${name}`] ?? []).map(({ p99 }) => p99));
    const what = `status committed → projection committed, p99 at ${name}`;
    return { row: 5, what, value: late, unit: 'ms' as const, goal: { atMost: goal } };
  });
  return { name: 'propagation', rows, cases: rounds, skipped: [] };
}

async function addDrafts({ sql }: Place, count: number): Promise<number[]> {
  const rows = await sql(`insert into promotions.promotions (name, status, start_at, end_at, version)
    select 'Draft', 'draft', now(), now() + interval '1 day', 1 from generate_series(1, ${count}) returning id`);
  return (rows as { id: number }[]).map(({ id }) => id);
}

/**
 * Begins so many a second whatever the answers do, and ends when all are answered.
 * @returns those that were changed: where the machine cannot keep up, some are refused
 */
async function activate(url: string, ids: readonly number[], perSecond: number): Promise<number[]> {
  const change = async (id: number): Promise<number[]> => {
    const answer = await fetch(`${url}/promotions/${id}/status`, {
      method: 'POST',
      body: '{"status":"active"}',
      headers: { 'content-type': 'application/json' },
    });
    await answer.arrayBuffer();
    return answer.ok ? [id] : [];
  };
  const begun: Promise<number[]>[] = [];
  const start = performance.now();
  while (begun.length < ids.length) {
    const due = Math.floor(((performance.now() - start) * perSecond) / 1_000);
    for (const id of ids.slice(begun.length, due)) begun.push(change(id));
    await sleep(5);
  }
  return (await Promise.all(begun)).flat();
}

/** @throws when one of them has not arrived 10 s later */
async function readDelays({ sql }: Place, ids: readonly number[], seconds: number): Promise<Load> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const rows = await sql(`select 1000 * extract(epoch from
        pg_xact_commit_timestamp(cached.xmin) - pg_xact_commit_timestamp(promotion.xmin))::float as late
      from promotions.promotions promotion
      join subscriptions.cached_promotions cached on promotion_id = id and cached.version = promotion.version
      where id = any('{${ids.join()}}') and cached.status = 'active'
      order by late`);
    const late = (rows as { late: number }[]).map((row) => row.late);
    const at = (share: number): number => late[Math.ceil(late.length * share) - 1] ?? Number.NaN;
    if (late.length === ids.length) {
      return { count: late.length, perSecond: late.length / seconds, p50: at(0.5), p99: at(0.99) };
    }
    if (Date.now() > deadline) throw new Error(`${ids.length - late.length} status changes did not arrive`);
    await sleep(100);
  }
}
