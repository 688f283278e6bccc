// The mesh's transport over RabbitMQ, through every loss of the connection. Publishing has a connection and so has each
// consumer: under a memory or disk alarm RabbitMQ stops reading from whoever publishes, and a consumer sharing that
// connection could not acknowledge and so never relieve it. Each connection is one failure domain (rabbit-link.ts).
import type { ChannelModel } from 'amqplib';
import { settleWithin } from '../../backoff.ts';
import { contentType } from '../../contracts/envelope.ts';
import type { Broker, BrokerOptions, PublishOutcome } from '../broker.ts';
import { type MaintainedConnection, maintainConnection } from './connection.ts';
import { openRabbitConsumer, type RabbitConsumer } from './consumer.ts';
import { type OutgoingFrame, openRabbitPublisher } from './publisher.ts';
import { topologyOf } from './topology.ts';

/** Does not wait for the connection: it comes, and comes back, by itself. */
export function connectRabbit(url: string, options: BrokerOptions): Broker {
  const { log, retry, prefix = '', confirmTimeoutMs = 5_000 } = options;
  const topology = topologyOf(prefix);
  const name = `${log.bindings().service ?? 'promopulse'}`;
  const listeners: ((messageId: string) => void)[] = [];
  const inFlight = new Set<Promise<void>>();
  const publishing = new Set<Promise<unknown>>();
  const closing = new AbortController();
  let closed: Promise<void> | undefined;
  const incoming: MaintainedConnection<RabbitConsumer>[] = [];

  const outgoing = maintainConnection({
    url,
    log,
    name: `${name} publisher`,
    open: (connection, life) =>
      openRabbitPublisher(connection, life, topology, (messageId) => {
        for (const listener of listeners) listener(messageId);
      }),
  });

  async function post(posts: readonly OutgoingFrame[]): Promise<PublishOutcome[]> {
    const outcomes = posts.map((): PublishOutcome => 'failed');
    const outlet = outgoing.session();
    if (!outlet || outlet.isBlocked()) return outcomes;
    const giveUp = new AbortController();
    const all = posts.map(async (one, index) => {
      const outcome = await outlet.send(one, giveUp.signal);
      if (!giveUp.signal.aborted) outcomes[index] = outcome;
    });
    if (await settleWithin(confirmTimeoutMs, Promise.all(all))) return outcomes;
    giveUp.abort();
    // Blocked, RabbitMQ has the messages and will confirm them some day. Silent without a word, the connection is dead.
    if (!outlet.isBlocked() && outgoing.session() === outlet) outgoing.restart('no confirm in time');
    return outcomes;
  }

  const intakeOptions = {
    topology,
    closing: closing.signal,
    inFlight,
    log,
    retry,
    post: async (letter: OutgoingFrame) => {
      const [outcome] = await post([letter]);
      if (outcome !== 'confirmed') throw new Error(`dead letter ${outcome}`);
    },
    sendReply: (replyTo: string, messageId: string) => outgoing.session()?.sendReply(replyTo, messageId),
  };

  async function close(timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    const left = (): number => Math.max(0, deadline - performance.now());
    const intakes = incoming.map((link) => link.session()).filter((intake) => intake !== undefined);
    await settleWithin(left(), Promise.all(intakes.map((intake) => intake.cancel())));
    closing.abort(); // only now: what goes back to the queue must not come to us again
    await settleWithin(left(), Promise.all(inFlight));
    await settleWithin(left(), Promise.all([...publishing, ...intakes.map((intake) => intake.flush())]));
    await Promise.all([...incoming, outgoing].map((link) => link.close()));
  }

  return {
    publish: async (messages) => {
      if (closed) return messages.map(() => 'failed');
      const work = post(
        messages.map(({ id, routingKey, body, mandatory, replyTo }) => ({
          exchange: topology.events,
          routingKey,
          body,
          options: { messageId: id, contentType, mandatory, ...(replyTo && { replyTo }) },
        })),
      );
      publishing.add(work);
      return work.finally(() => publishing.delete(work));
    },
    consume: (consumer) => {
      if (closed) return;
      const open = (connection: ChannelModel, life: AbortController): Promise<RabbitConsumer> =>
        openRabbitConsumer(connection, life, consumer, intakeOptions);
      incoming.push(maintainConnection({ url, log, name: `${name} ${consumer.queue}`, open }));
    },
    replyAddress: () => outgoing.session()?.replyAddress,
    onReply: (listener) => void listeners.push(listener),
    isConnected: () => {
      const outlet = outgoing.session();
      return outlet !== undefined && !outlet.isBlocked() && incoming.every((link) => link.session());
    },
    close: (timeoutMs = 5_000) => {
      closed ??= close(timeoutMs);
      return closed;
    },
  };
}
