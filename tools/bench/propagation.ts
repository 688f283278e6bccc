// Measures how long after the commit of a status change the subscriptions service has committed it too. Both times are
// the database's own (pg_xact_commit_timestamp of the two rows), so the measurement adds nothing to the delay.
import { setTimeout as sleep } from 'node:timers/promises';
import { resetData } from './data.ts';
import { targetOf } from './endpoints.ts';
import type { Row, Section } from './report.ts';
import { componentsOf, connections, type Requests } from './requests.ts';
import { type Case, interleave, type Load, type Plan, spread } from './rounds.ts';
import type { BenchDatabase } from './stack.ts';
import { loadHttp } from './wrk.ts';

const levels = [
  { name: '50/s', perSecond: 50, goalMs: 15, underLoad: false },
  { name: '400/s', perSecond: 400, goalMs: 30, underLoad: false },
  { name: '50/s under full POST load', perSecond: 50, goalMs: 100, underLoad: true },
];

export async function measurePropagation(requests: Requests, plan: Plan): Promise<Section> {
  const { servers, served, parts } = requests;
  const url = parts.promotions?.url ?? '';
  const loadTarget = targetOf('post', parts.subscriptions?.url ?? '', served.sizes);
  const cases = levels.map(
    ({ name, perSecond, underLoad }): Case => ({
      name: `propagation ${name}`,
      components: () => componentsOf(requests),
      prepare: () => resetData(served.sql, 'subscriptions', served.sizes),
      run: async (seconds) => {
        const drafts = await addDrafts(served, Math.ceil(perSecond * seconds));
        const [changed] = await Promise.all([
          activate(url, drafts, perSecond),
          ...(underLoad ? [loadHttp(servers.folder, loadTarget, { connections, seconds })] : []),
        ]);
        return await readDelays(served, changed, seconds);
      },
    }),
  );
  const rounds = await interleave(cases, { ...plan, warmUp: plan.warmUp / 20 });
  const rows = levels.map(({ name, goalMs }): Row => {
    const value = spread((rounds[`propagation ${name}`] ?? []).map(({ p99 }) => p99));
    const what = `status committed → projection committed, p99 at ${name}`;
    return { measure: 'propagation', what, value, unit: 'ms', goal: { atMost: goalMs } };
  });
  return { name: 'propagation', rows, cases: rounds, skipped: [] };
}

async function addDrafts({ sql }: BenchDatabase, count: number): Promise<number[]> {
  const rows = await sql(`insert into promotions.promotions (name, status, start_at, end_at, version)
    select 'Draft', 'draft', now(), now() + interval '1 day', 1 from generate_series(1, ${count}) returning id`);
  return (rows as { id: number }[]).map(({ id }) => id);
}

/**
 * Starts status changes at a fixed rate, without waiting for responses, and ends when all are answered.
 * @returns the ids that were changed: a machine that cannot keep up rejects some of the requests
 */
async function activate(url: string, ids: readonly number[], perSecond: number): Promise<number[]> {
  const change = async (id: number): Promise<number[]> => {
    const response = await fetch(`${url}/promotions/${id}/status`, {
      method: 'POST',
      body: '{"status":"active"}',
      headers: { 'content-type': 'application/json' },
    });
    await response.arrayBuffer();
    return response.ok ? [id] : [];
  };
  const started: Promise<number[]>[] = [];
  const start = performance.now();
  while (started.length < ids.length) {
    const due = Math.floor(((performance.now() - start) * perSecond) / 1_000);
    for (const id of ids.slice(started.length, due)) started.push(change(id));
    await sleep(5);
  }
  return (await Promise.all(started)).flat();
}

/** @throws when a change has not arrived within 10 s */
async function readDelays({ sql }: BenchDatabase, ids: readonly number[], seconds: number): Promise<Load> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const rows = await sql(`select 1000 * extract(epoch from
        pg_xact_commit_timestamp(cached.xmin) - pg_xact_commit_timestamp(promotion.xmin))::float as delay_ms
      from promotions.promotions promotion
      join subscriptions.cached_promotions cached on promotion_id = id and cached.version = promotion.version
      where id = any('{${ids.join()}}') and cached.status = 'active'
      order by delay_ms`);
    const delays = (rows as { delay_ms: number }[]).map((row) => row.delay_ms);
    const percentile = (share: number): number => delays[Math.ceil(delays.length * share) - 1] ?? Number.NaN;
    if (delays.length === ids.length) {
      const [p50, p99] = [percentile(0.5), percentile(0.99)];
      return { count: delays.length, perSecond: delays.length / seconds, p50, p99 };
    }
    if (Date.now() > deadline) throw new Error(`${ids.length - delays.length} status changes did not arrive`);
    await sleep(100);
  }
}
