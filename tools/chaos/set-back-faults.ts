// Faults that set a database back, as a restore does. No acknowledged write is lost: what is set back was made up before.
import { setTimeout as sleep } from 'node:timers/promises';
import { withClient } from '@promopulse/shared/database/provision';
import type { Inject, InjectionResult } from './injection.ts';
import { type SqlClient, takeKnownPromotion, waitUntil, waitUntilKnown, watchEnded } from './observed-promotion.ts';
import { whileStopped } from './replica-faults.ts';

const raisedBy = 10;

let setBacks = 0;

/**
 * The database of promotions loses the last versions of every active promotion, after subscriptions has seen them. Then a
 * promotion ends, at a version that is lower than the one that was seen.
 * @param target `promotions` begins a new epoch, as the command of a restore does; `without-epoch` does not
 */
export const setOwnerBack: Inject = async (stack, { target }, load): Promise<InjectionResult> => {
  const id = await takeKnownPromotion(stack, load);
  setBacks += 1;
  const requestId = `chaos-set-back-${setBacks}`;
  await withClient(stack.databaseUrl(), async (client) => {
    const { lastId, raised } = await raiseVersions(client, requestId);
    await waitUntilSeen(client, raised);
    const setBack = { requestId, lastId, ids: [...raised.keys()], newEpoch: target === 'promotions' };
    await whileStopped(stack, 'promotions', () => lowerVersions(client, setBack));
  });
  const recoverFrom = Date.now();
  const end = await load.end(id);
  return { recoverFrom, note: `at a lower version: ${end.projection}; ${await watchEnded(load, end)}` };
};

/**
 * Ten versions more for every active promotion, with an event for each.
 * @returns the last id of the outbox before, and the new version of each promotion
 */
export async function raiseVersions(
  client: SqlClient,
  requestId: string,
): Promise<{ lastId: number; raised: Map<number, number> }> {
  return await inTransaction(client, async () => {
    await client.query('lock table promotions.promotions in exclusive mode');
    const outbox = await client.query<{ last_id: number }>('select max(id)::int as last_id from promotions.outbox');
    // Like the event of the service, but for the format of times, which no consumer reads.
    const events = await client.query<{ id: number; version: number }>(
      `with raised as (
         update promotions.promotions set version = version + ${raisedBy} where status = 'active' returning *
       ), recorded as (
         insert into promotions.outbox (event_id, name, subject, data, request_id)
         select gen_random_uuid(), 'promotion.status_changed', id::text,
           to_jsonb(raised) || jsonb_build_object('version', version - ${raisedBy} + step), $1
         from raised cross join generate_series(1, ${raisedBy}) as step order by step, id
       ) select id, version from raised`,
      [requestId],
    );
    const raised = new Map(events.rows.map(({ id, version }) => [id, version]));
    return { lastId: outbox.rows[0]?.last_id ?? 0, raised };
  });
}

async function waitUntilSeen(client: SqlClient, raised: ReadonlyMap<number, number>): Promise<void> {
  await waitUntil('subscriptions has seen the raised versions', async () => {
    const { rows } = await client.query<{ seen: number }>(
      `select count(*)::int as seen from unnest($1::int[], $2::int[]) as raised (id, version)
       join subscriptions.cached_promotions as held on promotion_id = id and held.version >= raised.version`,
      [[...raised.keys()], [...raised.values()]],
    );
    return rows[0]?.seen === raised.size;
  });
}

interface SetBack {
  requestId: string;
  lastId: number;
  ids: readonly number[];
  newEpoch: boolean;
}

/** Removes the made-up events. What the load has changed meanwhile stays, under the versions and ids it would have had. */
async function lowerVersions(client: SqlClient, { requestId, lastId, ids, newEpoch }: SetBack): Promise<void> {
  await inTransaction(client, async () => {
    await client.query('delete from promotions.outbox where request_id = $1', [requestId]);
    await client.query(
      `update promotions.outbox set data = data || jsonb_build_object('version', (data->>'version')::int - ${raisedBy})
       where id > $1 and subject::int = any($2)`,
      [lastId, ids],
    );
    await client.query(`update promotions.promotions set version = version - ${raisedBy} where id = any($1)`, [ids]);
    // By way of negative ids, because an id must be free before it is given again.
    await client.query('update promotions.outbox set id = -id where id > $1', [lastId]);
    await client.query(
      `update promotions.outbox set id = $1 + place
       from (select id as old_id, row_number() over (order by id desc) as place from promotions.outbox where id < 0)
         as kept
       where id = old_id`,
      [lastId],
    );
    await client.query(`select setval('promotions.outbox_id_seq', max(id)) from promotions.outbox`);
    if (newEpoch) await client.query('update promotions.publication set epoch = gen_random_uuid()');
  });
}

const projectionTables = ['cached_promotions', 'known_users', 'projection_sources'] as const;

/**
 * The projections go back to what they were before a promotion ended.
 * @param target `running`: nothing tells the replicas, and what they have applied is undone; `stopped`: as in a restore
 */
export const setProjectionBack: Inject = async (stack, { target, holdMs }, load): Promise<InjectionResult> => {
  const id = await takeKnownPromotion(stack, load);
  const from = Date.now();
  const end = await withClient(stack.databaseUrl(), async (client) => {
    for (const table of projectionTables) {
      await client.query(`create temporary table copy_of_${table} as table subscriptions.${table}`);
    }
    const held = sleep(holdMs);
    const acknowledged = await load.end(id);
    await waitUntilKnown(client, id, 'ended');
    await held;
    if (target === 'running') await putBack(client);
    else await whileStopped(stack, 'subscriptions', () => putBack(client));
    return acknowledged;
  });
  const recoverFrom = Date.now();
  const isUndone = target === 'running';
  const note = await watchEnded(load, end, { isUndone });
  return { recoverFrom, note, ...(isUndone && { undone: { from, to: recoverFrom } }) };
};

async function putBack(client: SqlClient): Promise<void> {
  await inTransaction(client, async () => {
    for (const table of projectionTables) {
      await client.query(`lock table subscriptions.${table} in exclusive mode`);
      await client.query(`delete from subscriptions.${table}`);
      await client.query(`insert into subscriptions.${table} table copy_of_${table}`);
    }
  });
}

async function inTransaction<Result>(client: SqlClient, work: () => Promise<Result>): Promise<Result> {
  await client.query('begin');
  try {
    const result = await work();
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback');
    throw error;
  }
}
