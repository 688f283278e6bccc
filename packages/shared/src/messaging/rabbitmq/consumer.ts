// Consuming over one connection. The promise: a message is acknowledged only after its handler has applied it or its
// dead letter is confirmed; in every other case it belongs to its queue again.
import { randomUUID } from 'node:crypto';
import type { ChannelModel, ConsumeMessage } from 'amqplib';
import { contentType } from '../../contracts/envelope.ts';
import type { BrokerOptions, Consumer, IncomingMessage } from '../broker.ts';
import { deliver } from '../delivery.ts';
import { guard } from './connection.ts';
import type { OutgoingFrame } from './publisher.ts';
import { deadLetterHeaders, declareExchanges, declareQueue, type Topology } from './topology.ts';

export interface RabbitConsumer {
  /** No new deliveries after this. */
  cancel(): Promise<unknown>;
  /** Resolves once RabbitMQ has read every acknowledgement given so far. */
  flush(): Promise<unknown>;
}

export interface RabbitConsumerOptions extends Pick<BrokerOptions, 'log' | 'retry'> {
  topology: Topology;
  /** Aborts when the broker closes: messages waiting for their next attempt go back to the queue. */
  closing: AbortSignal;
  /** Work under way, across connections, for a close to wait for. */
  inFlight: Set<Promise<void>>;
  /** Rejects unless confirmed. */
  post(letter: OutgoingFrame): Promise<void>;
  sendReply(replyTo: string, messageId: string): void;
}

export async function openRabbitConsumer(
  connection: ChannelModel,
  life: AbortController,
  consumer: Consumer,
  { topology, closing, inFlight, log, retry, post, sendReply }: RabbitConsumerOptions,
): Promise<RabbitConsumer> {
  // An acknowledgement is only valid on the channel that delivered: everything below stays within this closure.
  const channel = guard(await connection.createChannel(), life);
  const signal = AbortSignal.any([life.signal, closing]);
  await declareExchanges(channel, topology);
  await declareQueue(channel, topology, consumer.queue, consumer.bindings);
  const prefetch = consumer.prefetch ?? 20;
  await channel.prefetch(prefetch);

  async function take(raw: ConsumeMessage): Promise<void> {
    const message = toMessage(raw);
    const settlement = await deliver({
      message,
      consumer,
      retry,
      log,
      signal,
      deadLetter: (reason, attempts) => post(toLetter(topology, consumer.queue, message, reason, attempts)),
    });
    if (!life.signal.aborted) {
      // `reject`, not `nack`: only it counts toward a delivery limit in every version of RabbitMQ.
      if (settlement === 'interrupted') channel.reject(raw, true);
      else channel.ack(raw);
    }
    const replyTo = raw.properties.replyTo;
    if (settlement === 'applied' && typeof replyTo === 'string') sendReply(replyTo, message.id);
  }

  const onDelivery = (raw: ConsumeMessage | null): void => {
    if (raw === null) {
      life.abort(new Error(`${consumer.queue}: RabbitMQ cancelled the consumer`));
      return;
    }
    const work = take(raw)
      .catch((error: unknown) => life.abort(error)) // acknowledging on a closed channel throws
      .finally(() => inFlight.delete(work));
    inFlight.add(work);
  };
  const { consumerTag } = await channel.consume(topology.queue(consumer.queue), onDelivery);
  return { cancel: () => channel.cancel(consumerTag), flush: () => channel.prefetch(prefetch) };
}

function toMessage({ properties, fields, content }: ConsumeMessage): IncomingMessage {
  // A message put back from the dead letters arrives by queue name; its header remembers the real key.
  const routingKey = properties.headers?.[deadLetterHeaders.routingKey];
  return {
    id: typeof properties.messageId === 'string' ? properties.messageId : randomUUID(), // a stranger's, sent by hand
    routingKey: typeof routingKey === 'string' ? routingKey : fields.routingKey,
    body: content.toString(),
    redelivered: fields.redelivered,
  };
}

function toLetter(
  topology: Topology,
  queue: string,
  { id, routingKey, body }: IncomingMessage,
  reason: string,
  attempts: number,
): OutgoingFrame {
  const headers = {
    [deadLetterHeaders.reason]: reason,
    [deadLetterHeaders.attempts]: attempts,
    [deadLetterHeaders.failedAt]: new Date().toISOString(),
    [deadLetterHeaders.routingKey]: routingKey,
  };
  const options = { messageId: id, contentType, mandatory: true, headers };
  return { exchange: topology.deadLetters, routingKey: topology.queue(queue), body, options };
}
