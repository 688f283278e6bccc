// Causes that are lost, unreadable or unroutable messages.
import { openRabbitDeadLetters } from '@promopulse/shared/messaging/rabbitmq/dead-letters';
import { topologyOf } from '@promopulse/shared/messaging/rabbitmq/topology';
import { emptyQueue, lockProjection, withChannel } from '../chaos/loss-faults.ts';
import { replicasOf } from '../chaos/replica-faults.ts';
import { raiseVersions } from '../chaos/set-back-faults.ts';
import { type Cause, holdOpen } from './cause.ts';

/** A message that is no event. RabbitMQ's operator discards it in the end. */
export const publishUnreadable: Cause = async ({ stack }) => {
  const topology = topologyOf(stack.prefix);
  await withChannel(stack, async (channel) => {
    channel.publish(topology.exchangeFor('user.created'), 'user.created', Buffer.from('no event'), {});
    await channel.waitForConfirms();
  });
  return async () => {
    const store = await openRabbitDeadLetters({ url: stack.rabbit.url }, { prefix: stack.prefix });
    await store.discard().finally(() => store.close());
  };
};

/** The consumers are stopped, and their queues are deleted, as before their first start. */
export const parkEvents: Cause = async ({ stack }) => {
  const consumers = ['subscriptions', 'engagement'] as const;
  const replicas = consumers.flatMap((consumer) => replicasOf(stack, consumer));
  await Promise.all(replicas.map((replica) => replica.stop()));
  for (const consumer of consumers) await emptyQueue(stack, 'deleted', consumer);
  return () => Promise.all(replicas.map((replica) => replica.start()));
};

/** More events than the consumer takes at a time wait, because rows are locked. Somebody purges the queue. */
export const loseMessages: Cause = async (scene) => {
  const { stack, sql } = scene;
  for (let count = 1; count <= 3; count += 1) await raiseVersions(sql, `alerts-${count}`);
  const unlock = await holdOpen(scene, lockProjection);
  let lost = 0;
  try {
    for (const deadline = Date.now() + 30_000; lost === 0 && Date.now() < deadline; )
      lost = await emptyQueue(stack, 'purged');
  } finally {
    await unlock();
  }
  if (lost === 0) throw new Error('no message was lost');
  return undefined;
};

const lostId = 4_000_000;

/** Subscriptions knows a user that users does not have, as after a restore of users. */
export const insertLostRow: Cause = async ({ sql }) => {
  await sql.query(`insert into subscriptions.known_users (user_id, version) values (${lostId}, 1)`);
  return () => sql.query(`delete from subscriptions.known_users where user_id = ${lostId}`);
};
