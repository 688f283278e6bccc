// For each alert of deploy/observe what causes it here, as an operator may meet it.
import { setTimeout as sleep } from 'node:timers/promises';
import { lockProjection } from '../chaos/loss-faults.ts';
import { proxiesNamed } from '../chaos/network-faults.ts';
import { replicasOf } from '../chaos/replica-faults.ts';
import { type Cause, holdOpen } from './cause.ts';
import { editPromotions, failToAuthenticate, floodLists, keepBusy } from './load-causes.ts';
import { insertLostRow, loseMessages, parkEvents, publishUnreadable } from './message-causes.ts';

interface CausedAlert {
  alert: string;
  cause: Cause;
  /** Other alerts that are right to fire too. Default: none. */
  also?: readonly string[];
  /** Part of the short run, which CI makes. */
  isShort?: true;
}

/** Alerts that no run causes, and why. `promtool test rules` tries them. */
export const notCaused: Readonly<Record<string, string>> = {
  PromoPulseTokenKeysStale: 'an hour must pass',
  PromoPulseEventsNotPublished: 'an alarm of RabbitMQ ends the connection, and a full queue did not hold events back',
};

const killReplica: Cause = async ({ stack }) => {
  const [, second] = replicasOf(stack, 'users');
  await second.kill();
  return () => second.start();
};

const restartOften: Cause = async ({ stack }) => {
  const [, second] = replicasOf(stack, 'users');
  for (let count = 0; count < 4; count += 1) {
    await second.stop();
    await second.start();
    await sleep(3_000); // it must be scraped between two restarts
  }
  return undefined;
};

/** A proxy on the way from the gateways to a service: its answers come too late, or never. */
function disturbGatewayTo(service: string, disturb: 'stall' | { latencyMs: number }): Cause {
  return ({ stack }) => {
    const [proxy] = proxiesNamed(stack, `gateway→${service}`);
    if (disturb === 'stall') proxy.stall();
    else proxy.setLatency(disturb.latencyMs);
    return () => (disturb === 'stall' ? proxy.resume() : proxy.setLatency(0));
  };
}

/** @param body what happens before a row is inserted or changed, in PL/pgSQL */
function onWrite(table: string, event: 'insert' | 'update', body: string): Cause {
  return async ({ sql }) => {
    await sql.query(`create function public.disturb() returns trigger language plpgsql security definer
      as $$ begin ${body}; return new; end $$`);
    await sql.query(
      `create trigger disturb before ${event} on ${table} for each row execute function public.disturb()`,
    );
    return async () => {
      await sql.query(`drop trigger disturb on ${table}`);
      await sql.query('drop function public.disturb()');
    };
  };
}

/** More edits at once than there are connections for transactions, each as long as on a very slow disk. */
const editOnSlowDisk: Cause = async (scene) => {
  const repair = await onWrite('promotions.promotions', 'update', 'perform pg_sleep(0.3)')(scene);
  const endEdits = await editPromotions(scene, 24);
  return async () => {
    await endEdits();
    await repair?.();
  };
};

/** More callers than both gateways send on at a time (MAX_IN_FLIGHT), to a service whose answers take 0.6 s. */
const floodSlowService: Cause = async (scene) => {
  const speedUp = await disturbGatewayTo('promotions', { latencyMs: 300 })(scene);
  const endFlood = floodLists(scene, 200);
  return async () => {
    await endFlood();
    await speedUp?.();
  };
};

/** Nearly all ids of a table are used: its sequence is set, and then set back. */
const useIds: Cause = async ({ sql }) => {
  const { rows } = await sql.query<{ last: string }>(
    'select last_value::text as last from promotions.promotions_id_seq',
  );
  await sql.query(`select setval('promotions.promotions_id_seq', 7700000000000000)`);
  return () => sql.query(`select setval('promotions.promotions_id_seq', $1)`, [Number(rows[0]?.last) + 1_000]);
};

/** The owner is not reachable from subscriptions, which has just started and must read it. */
const cutOwner: Cause = async ({ stack }) => {
  const proxies = proxiesNamed(stack, 'subscriptions→users*');
  for (const proxy of proxies) proxy.stall();
  for (const replica of replicasOf(stack, 'subscriptions')) {
    await replica.stop();
    await replica.start();
  }
  return () => {
    for (const proxy of proxies) proxy.resume();
  };
};

/** The days ahead of engagement are gone, and the function that makes them is, too. */
const dropDays: Cause = async ({ sql }) => {
  await sql.query('alter function engagement.add_event_day(date) rename to hidden');
  const { rows } = await sql.query<{ name: string }>(
    `select oid::regclass::text as name from pg_class where relkind = 'r' and relname ~ '^events_\\d{8}$'
      and to_date(right(relname, 8), 'YYYYMMDD') > current_date`,
  );
  for (const { name } of rows) await sql.query(`drop table ${name}`);
  return () => sql.query('alter function engagement.hidden(date) rename to add_event_day');
};

export const causedAlerts: readonly CausedAlert[] = [
  { alert: 'PromoPulseProcessDown', cause: killReplica, isShort: true },
  { alert: 'PromoPulseProcessRestarts', cause: restartOften },
  {
    alert: 'PromoPulseDatabaseUnavailable',
    cause: async ({ stack }) => {
      await stack.postgres.stop('fast');
      return () => stack.postgres.start();
    },
    isShort: true,
  },
  {
    alert: 'PromoPulseBrokerUnavailable',
    cause: async ({ stack }) => {
      await stack.rabbit.ctl(['stop_app']);
      return () => stack.rabbit.ctl(['start_app']);
    },
    isShort: true,
  },
  { alert: 'PromoPulseBreakerOpen', cause: disturbGatewayTo('promotions', 'stall') },
  { alert: 'PromoPulseConnectionsWait', cause: editOnSlowDisk },
  { alert: 'PromoPulseOverloaded', cause: floodSlowService },
  { alert: 'PromoPulseProcessBusy', cause: keepBusy },
  { alert: 'PromoPulseIdsRunOut', cause: useIds },
  { alert: 'PromoPulseAuthenticationsFail', cause: failToAuthenticate },
  {
    alert: 'PromoPulseNoRelayLeads',
    cause: (scene) => holdOpen(scene, 'select from users.leases for update'),
  },
  { alert: 'PromoPulseEventsParked', cause: parkEvents, also: ['PromoPulseProcessDown'] },
  { alert: 'PromoPulseDeadLetters', cause: publishUnreadable, isShort: true },
  { alert: 'PromoPulseMessagesLost', cause: loseMessages },
  { alert: 'PromoPulseRowsLost', cause: insertLostRow },
  {
    // The locked rows also hold up requests to subscriptions, until the gateway's breaker opens.
    alert: 'PromoPulseProjectionBehind',
    also: ['PromoPulseBreakerOpen'],
    cause: (scene) => holdOpen(scene, lockProjection),
  },
  { alert: 'PromoPulseProjectionNotReconciled', cause: cutOwner },
  { alert: 'PromoPulseDaysMissing', cause: dropDays },
  {
    // So many failures of users open its breaker later.
    alert: 'PromoPulseRequestsFail',
    also: ['PromoPulseBreakerOpen'],
    cause: onWrite('users.users', 'update', `raise exception 'a defect'`),
  },
  // 1.2 s there and back: slower answers would lower the concurrency limit, and requests would be refused.
  { alert: 'PromoPulseRequestsSlow', cause: disturbGatewayTo('promotions', { latencyMs: 600 }) },
  {
    alert: 'PromoPulseNotScraped',
    cause: ({ scrape }) => {
      scrape('none');
      return () => scrape('all');
    },
  },
];
