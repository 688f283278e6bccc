// Consuming over one connection. The promise: a message is acknowledged only after its handler has applied it, or its
// dead letter or a copy in its queue is confirmed. In every other case it goes back to its queue.
import { randomUUID } from 'node:crypto';
import type { Channel, ChannelModel, ConsumeMessage } from 'amqplib';
import { contentType } from '../../contracts/envelope.ts';
import type { Tracing } from '../../telemetry/tracing.ts';
import type { BrokerOptions, Consumer, IncomingMessage } from '../broker.ts';
import { deliver, deliveryLog } from '../delivery.ts';
import { Acknowledgements } from './acknowledgements.ts';
import { guard } from './connection.ts';
import { countDeadLetters } from './dead-letters.ts';
import { frameForQueue, type OutgoingFrame } from './publisher.ts';
import { declareExchanges, declareQueue, messageHeaders, type Topology } from './topology.ts';

interface RabbitConsumerOptions extends Pick<BrokerOptions, 'log' | 'retry'> {
  tracing: Tracing | undefined;
  topology: Topology;
  /** Aborts when the broker closes: messages that wait for their next attempt are put back into their queue. */
  closing: AbortSignal;
  /** Running deliveries of all connections. A closing broker waits for them. */
  inFlight: Set<Promise<void>>;
  /** Publishes a dead letter or an interrupted message. Rejects unless it is confirmed. */
  publish(frame: OutgoingFrame): Promise<void>;
  sendReply(replyTo: string, messageId: string): void;
}

/** A channel with its connection, and the lifetime of both. */
interface Link {
  connection: ChannelModel;
  channel: Channel;
  lifetime: AbortController;
}

const defaultPrefetch = 20;

/** @throws when the channel, the queue or the subscription cannot be set up */
export async function openRabbitConsumer(
  connection: ChannelModel,
  lifetime: AbortController,
  consumer: Consumer,
  options: RabbitConsumerOptions,
): Promise<RabbitConsumer> {
  const channel = guard(await connection.createChannel(), lifetime);
  await declareExchanges(channel, options.topology);
  await declareQueue(channel, options.topology, consumer.queue, consumer.bindings);
  const opened = new RabbitConsumer({ connection, channel, lifetime }, consumer, options);
  await opened.start();
  return opened;
}

export type { RabbitConsumer };

/**
 * The consumer of one channel. An acknowledgement is valid only on the channel that delivered the message, so a new
 * connection gets a new object. States:
 * - consuming, from `start` on.
 * - cancelled, from `cancel` on: no new deliveries; those that run are still acknowledged.
 * - ended: the lifetime has aborted. Nothing is acknowledged, because RabbitMQ has already requeued the messages.
 */
class RabbitConsumer {
  readonly #connection: ChannelModel;
  readonly #channel: Channel;
  readonly #lifetime: AbortController;
  readonly #consumer: Consumer;
  readonly #options: RabbitConsumerOptions;
  readonly #prefetch: number;
  /** Aborts when this connection ends or the broker closes. */
  readonly #signal: AbortSignal;
  readonly #acknowledgements: Acknowledgements;
  readonly #session = randomUUID();
  #consumerTag = '';
  #counting: Promise<number | null> | undefined;

  constructor({ connection, channel, lifetime }: Link, consumer: Consumer, options: RabbitConsumerOptions) {
    this.#connection = connection;
    this.#channel = channel;
    this.#lifetime = lifetime;
    this.#consumer = consumer;
    this.#options = options;
    this.#prefetch = consumer.prefetch ?? defaultPrefetch;
    this.#signal = AbortSignal.any([lifetime.signal, options.closing]);
    this.#acknowledgements = new Acknowledgements(channel, (error) => lifetime.abort(error));
  }

  async start(): Promise<void> {
    await this.#channel.prefetch(this.#prefetch);
    const queue = this.#options.topology.queue(this.#consumer.queue);
    const { consumerTag } = await this.#channel.consume(queue, (raw) => this.#onDelivery(raw));
    this.#consumerTag = consumerTag;
  }

  /** Resolves when no more messages will be delivered. */
  cancel(): Promise<unknown> {
    return this.#channel.cancel(this.#consumerTag);
  }

  /** Resolves when RabbitMQ has processed the acknowledgements sent so far: it answers in the order of the frames. */
  flush(): Promise<unknown> {
    if (!this.#lifetime.signal.aborted) this.#acknowledgements.flush();
    return this.#channel.prefetch(this.#prefetch);
  }

  /** One check at a time, however often it is called. @returns null when RabbitMQ does not say */
  countDeadLetters(): Promise<number | null> {
    this.#counting ??= countDeadLetters(this.#connection, this.#options.topology.deadQueue(this.#consumer.queue))
      .catch(() => null)
      .finally(() => {
        this.#counting = undefined;
      });
    return this.#counting;
  }

  #onDelivery(raw: ConsumeMessage | null): void {
    if (raw === null) {
      this.#lifetime.abort(new Error(`${this.#consumer.queue}: RabbitMQ cancelled the consumer`));
      return;
    }
    const { inFlight } = this.#options;
    this.#acknowledgements.open(raw);
    const delivery = this.#deliver(raw)
      .catch((error: unknown) => this.#lifetime.abort(error)) // amqplib throws on rejecting on a closed channel
      .finally(() => inFlight.delete(delivery));
    inFlight.add(delivery);
  }

  async #deliver(raw: ConsumeMessage): Promise<void> {
    const { retry, log, tracing, topology, publish, sendReply } = this.#options;
    const message = { ...toMessage(raw), session: this.#session, signal: this.#signal };
    const settlement = await deliver({
      message,
      consumer: this.#consumer,
      retry,
      log,
      tracing,
      transport: topology.transport,
      signal: this.#signal,
      deadLetter: (reason, attempts) => {
        const queue = topology.queue(this.#consumer.queue);
        return publish(deadLetterFrame(topology.deadLetters, queue, message, { reason, attempts }));
      },
    });
    const isKept = settlement !== 'interrupted' || (await this.#putBack(message));
    if (!this.#lifetime.signal.aborted) {
      if (isKept) this.#acknowledgements.settle(raw);
      else {
        this.#channel.reject(raw, true);
        this.#acknowledgements.release(raw);
      }
    }
    const replyTo = raw.properties.replyTo;
    if (settlement === 'applied' && typeof replyTo === 'string') sendReply(replyTo, message.id);
  }

  /**
   * Publishes an interrupted message to its own queue. A message that RabbitMQ requeues counts toward the delivery
   * limit of the queue, a published one does not: some restarts would dead-letter a message that is only waiting.
   * @returns whether RabbitMQ has the copy
   */
  async #putBack(message: IncomingMessage): Promise<boolean> {
    if (this.#lifetime.signal.aborted) return false; // RabbitMQ has requeued it
    const { topology, publish, log } = this.#options;
    try {
      await publish(frameForQueue(topology.queue(this.#consumer.queue), message));
      return true;
    } catch (error) {
      deliveryLog(log, this.#consumer, message).warn(
        { err: error },
        'requeueing the message, which counts as a delivery',
      );
      return false;
    }
  }
}

function toMessage({ properties, fields, content }: ConsumeMessage): Omit<IncomingMessage, 'session' | 'signal'> {
  // A replayed dead letter and a copy are routed by the queue's name. A header carries the original routing key.
  const routingKey = properties.headers?.[messageHeaders.routingKey];
  const isCopy = typeof routingKey === 'string';
  return {
    // A message that another program has published may have no id.
    id: typeof properties.messageId === 'string' ? properties.messageId : randomUUID(),
    routingKey: isCopy ? routingKey : fields.routingKey,
    body: content.toString(),
    redelivered: fields.redelivered,
    isCopy,
    // Who has copied a message says nothing about who published it.
    userId: !isCopy && typeof properties.userId === 'string' ? properties.userId : undefined,
  };
}

function deadLetterFrame(
  exchange: string,
  queue: string,
  { id, routingKey, body, userId }: IncomingMessage,
  { reason, attempts }: { reason: string; attempts: number },
): OutgoingFrame {
  const headers = {
    [messageHeaders.reason]: reason,
    [messageHeaders.attempts]: attempts,
    [messageHeaders.failedAt]: new Date().toISOString(),
    [messageHeaders.routingKey]: routingKey,
    [messageHeaders.publishedBy]: userId,
  };
  return { exchange, routingKey: queue, body, options: { messageId: id, contentType, mandatory: true, headers } };
}
