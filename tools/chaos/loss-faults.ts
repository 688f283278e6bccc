// Faults that lose, forge or hold back messages. Each one ends a promotion itself, so that a projection which believes
// what it should not accepts a subscription too late.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventType } from '@promopulse/shared/contracts/index';
import { withClient } from '@promopulse/shared/database/provision';
import { guard, openConnection } from '@promopulse/shared/messaging/rabbitmq/connection';
import { topologyOf } from '@promopulse/shared/messaging/rabbitmq/topology';
import type { ConfirmChannel } from 'amqplib';
import type { Replica } from '../../local/replica.ts';
import type { Injection, InjectionResult } from './injection.ts';
import type { Load } from './load.ts';
import { networkFault, stall } from './network-faults.ts';
import {
  knownStatus,
  type SqlClient,
  subscribeFor,
  takeKnownPromotion,
  waitUntilEndPublished,
  waitUntilKnown,
  watchEnded,
} from './observed-promotion.ts';
import { replicasOf, whileStopped } from './replica-faults.ts';
import type { Stack } from './stack.ts';

/** While no replica of the consumer runs, a promotion ends; then the queue is deleted, or all its messages are. */
export async function loseQueue(stack: Stack, { target, holdMs }: Injection, load: Load): Promise<InjectionResult> {
  const id = await takeKnownPromotion(stack, load);
  const { end, lost } = await whileStopped(stack, 'subscriptions', async () => {
    const held = sleep(holdMs);
    const end = await load.end(id);
    await withClient(stack.databaseUrl(), (client) => waitUntilEndPublished(client, id));
    await held;
    return { end, lost: await emptyQueue(stack, target as 'deleted' | 'purged') };
  });
  if (lost === 0) throw new Error('no message was lost');
  const recoverFrom = Date.now();
  return { recoverFrom, note: `${lost} messages were lost; ${await watchEnded(load, end)}` };
}

/** Deletes the queue of a consumer, or all messages that wait in it. @returns how many are gone */
export function emptyQueue(
  stack: Stack,
  target: 'deleted' | 'purged',
  consumer: 'subscriptions' | 'engagement' = 'subscriptions',
): Promise<number> {
  return withChannel(stack, async (channel) => {
    const queue = topologyOf(stack.prefix).queue(`${consumer}.projections`);
    const { messageCount } = await channel.checkQueue(queue);
    await (target === 'deleted' ? channel.deleteQueue(queue) : channel.purgeQueue(queue));
    return messageCount;
  });
}

const hourMs = 3_600_000;

/**
 * Heartbeats from a clock that is one hour ahead. Then the consumer receives nothing, and a promotion ends: a consumer
 * that believed them would rely on its projection for an hour.
 */
export async function sendHeartbeatsAhead(stack: Stack, injection: Injection, load: Load): Promise<InjectionResult> {
  const id = await takeKnownPromotion(stack, load);
  const publication = { epoch: await epochOf(stack, 'promotions'), lead: randomUUID(), sequencenumber: 0 };
  const userId = new URL(stack.rabbit.url).username;
  for (const _ of Array(3)) {
    const watermark = new Date(Date.now() + hourMs).toISOString();
    const data = { service: 'promotions', watermark, position: await outboxPosition(stack) };
    await publish(
      stack,
      [{ name: 'relay.heartbeat', owner: 'promotions', subject: 'promotions', data, publication }],
      userId,
    );
    await sleep(300);
  }
  const stalled = networkFault((proxies, holdMs) => stall(proxies, holdMs))(
    stack,
    { ...injection, target: 'subscriptions-*→rabbit' },
    load,
  );
  const note = await watchEnded(load, await load.end(id));
  return { ...(await stalled), note };
}

const maxVersion = 2_147_483_647;

/** Events that no relay has published: every promotion is active, and every user is deleted. */
export async function forgeEvents(stack: Stack, _injection: Injection, load: Load): Promise<InjectionResult> {
  const id = await takeKnownPromotion(stack, load);
  const end = await load.end(id);
  await withClient(stack.databaseUrl(), (client) => waitUntilKnown(client, id, 'ended'));
  const forged = [
    ...(await forgedEvents(stack, 'promotions', 'promotion.status_changed')),
    ...(await forgedEvents(stack, 'users', 'user.deleted')),
  ];
  await publish(stack, forged);
  const recoverFrom = Date.now();
  return { recoverFrom, note: `${forged.length} forged events; ${await watchEnded(load, end)}` };
}

/** A transaction keeps all rows of the projection locked, so that no end can be applied. */
export async function lockRows(stack: Stack, { holdMs }: Injection, load: Load): Promise<InjectionResult> {
  const id = await takeKnownPromotion(stack, load);
  const end = await withLockedRows(stack, id, async () => {
    const acknowledged = await load.end(id);
    await subscribeFor(load, id, holdMs);
    return acknowledged;
  });
  return { recoverFrom: Date.now(), note: await watchEnded(load, end) };
}

const policyName = 'chaos-delivery-limit';
const deliveryLimit = 3;
const restarts = 5;

/** Graceful stops while an event cannot be applied: more of them than RabbitMQ delivers a message that is requeued. */
export async function restartInHand(stack: Stack, { target }: Injection, load: Load): Promise<InjectionResult> {
  const id = await takeKnownPromotion(stack, load);
  const pattern = `^${topologyOf(stack.prefix).queue('subscriptions.projections').replaceAll('.', '[.]')}$`;
  const policy = JSON.stringify({ 'delivery-limit': deliveryLimit });
  await stack.rabbit.ctl(['set_policy', policyName, pattern, policy, '--apply-to', 'queues']);
  try {
    const end = await withLockedRows(stack, id, async () => {
      const acknowledged = await load.end(id);
      await restartInTurn(replicasOf(stack, target));
      return acknowledged;
    });
    return { recoverFrom: Date.now(), note: await watchEnded(load, end) };
  } finally {
    await stack.rabbit.ctl(['clear_policy', policyName]);
  }
}

async function restartInTurn(replicas: readonly Replica[]): Promise<void> {
  for (let count = 0; count < restarts; count += 1) {
    const replica = replicas[count % replicas.length] as Replica;
    await replica.stop();
    await replica.start();
  }
}

/** While its transaction is open, no event of a promotion can be applied. */
export const lockProjection = 'select from subscriptions.cached_promotions order by promotion_id for update';

/** @throws Error when the end of the promotion was applied meanwhile: then nothing was locked */
async function withLockedRows<Result>(stack: Stack, promotionId: number, work: () => Promise<Result>): Promise<Result> {
  return await withClient(stack.databaseUrl(), async (client) => {
    await client.query('begin');
    await client.query(lockProjection);
    const result = await work();
    const status = await knownStatus(client, promotionId);
    await client.query('commit');
    if (status !== 'active') throw new Error(`promotion ${promotionId} became ${status} although its row is locked`);
    return result;
  });
}

interface ForgedEvent {
  name: Parameters<typeof eventType>[0];
  owner: string;
  subject: string;
  data: object;
  publication: { epoch: string; lead: string; sequencenumber: number };
}

async function forgedEvents(stack: Stack, owner: 'promotions' | 'users', name: string): Promise<ForgedEvent[]> {
  const publication = { epoch: await epochOf(stack, owner), lead: randomUUID(), sequencenumber: 1 };
  const rows = await select<{ id: number }>(stack, `select id from ${owner}.${owner}`);
  return rows.map(({ id }) => ({
    ...{ name, owner, subject: String(id), publication },
    data: { id, version: maxVersion, ...(owner === 'promotions' && { status: 'active' }) },
  }));
}

async function publish(stack: Stack, events: readonly ForgedEvent[], userId?: string): Promise<void> {
  await withChannel(stack, async (channel) => {
    const topology = topologyOf(stack.prefix);
    for (const { name, owner, publication, ...rest } of events) {
      const [id, time] = [randomUUID(), new Date().toISOString()];
      const context = { specversion: '1.0', id, time, datacontenttype: 'application/json' };
      const event = { ...context, source: `/promopulse/${owner}`, type: eventType(name), ...publication, ...rest };
      const options = { messageId: id, ...(userId && { userId }) };
      channel.publish(topology.exchangeFor(name), name, Buffer.from(JSON.stringify(event)), options);
    }
    await channel.waitForConfirms();
  });
}

export async function withChannel<Result>(
  stack: Stack,
  work: (channel: ConfirmChannel) => Promise<Result>,
): Promise<Result> {
  const lifetime = new AbortController();
  const connection = await openConnection({ url: stack.rabbit.url }, 'promopulse chaos', lifetime);
  try {
    return await work(guard(await connection.createConfirmChannel(), lifetime));
  } finally {
    lifetime.abort();
  }
}

async function epochOf(stack: Stack, owner: string): Promise<string> {
  const [row] = await select<{ epoch: string }>(stack, `select epoch from ${owner}.publication`);
  return row?.epoch ?? '';
}

async function outboxPosition(stack: Stack): Promise<number> {
  const text = `select last_value::float as position from promotions.outbox_id_seq`;
  return (await select<{ position: number }>(stack, text))[0]?.position ?? 0;
}

function select<Row extends object>({ databaseUrl }: Stack, text: string): Promise<Row[]> {
  return withClient(databaseUrl(), async (client) => (await (client as SqlClient).query<Row>(text)).rows);
}
