// Publishing with confirms over one connection. The promise: every `send` resolves exactly once, with RabbitMQ's
// answer, or with `failed` when RabbitMQ can no longer answer.
import type { Channel, ChannelModel, ConfirmChannel, Options } from 'amqplib';
import { contentType } from '../../contracts/envelope.ts';
import type { PublishOutcome, ReplyListener } from '../broker.ts';
import { guard } from './connection.ts';
import { declareExchanges, messageHeaders, type Topology } from './topology.ts';

export interface OutgoingFrame {
  exchange: string;
  routingKey: string;
  body: string;
  options: Options.Publish & { messageId: string };
}

/**
 * A message for a queue, addressed by the queue's name; a header keeps its original routing key. Without `replyTo`: by the
 * time it is applied, its sender has stopped waiting.
 */
export function frameForQueue(
  queue: string,
  { id: messageId, routingKey, body }: { id: string; routingKey: string; body: string },
): OutgoingFrame {
  const headers = { [messageHeaders.routingKey]: routingKey };
  return { exchange: '', routingKey: queue, body, options: { messageId, contentType, mandatory: true, headers } };
}

/** Maximum number of unconfirmed messages. amqplib buffers without a limit, so this bounds the memory of a channel. */
const maxInFlight = 256;

/**
 * Sends frames on a confirm channel. States of a frame:
 * - waiting: `maxInFlight` frames are unconfirmed. The next confirm sends it.
 * - in flight: sent, not yet confirmed.
 * - settled: confirmed, returned as unroutable, or failed (a negative confirm, or the end of the channel).
 */
export class ConfirmSender {
  readonly #channel: ConfirmChannel;
  readonly #lifetime: AbortSignal;
  readonly #waiting: (() => void)[] = [];
  /** How often each message id was returned. The same id can be in flight twice. */
  readonly #returned = new Map<string, number>();
  #inFlight = 0;

  /** @param lifetime aborts when the channel has closed */
  constructor(channel: ConfirmChannel, lifetime: AbortSignal) {
    this.#channel = channel;
    this.#lifetime = lifetime;
    // RabbitMQ sends an unroutable message back before its confirm.
    channel.on('return', ({ properties }) => {
      const id = String(properties.messageId);
      this.#returned.set(id, (this.#returned.get(id) ?? 0) + 1);
    });
    lifetime.addEventListener('abort', () => {
      for (const resume of this.#waiting.splice(0)) resume();
    });
  }

  /** Never rejects. @param abort aborts when the caller stops waiting: a frame that still waits is then not sent */
  async send({ exchange, routingKey, body, options }: OutgoingFrame, abort: AbortSignal): Promise<PublishOutcome> {
    while (this.#inFlight >= maxInFlight && !this.#lifetime.aborted) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    if (this.#lifetime.aborted || abort.aborted) {
      this.#waiting.shift()?.(); // This call gives its free slot to the next one.
      return 'failed';
    }
    this.#inFlight += 1;
    const outcome = await new Promise<PublishOutcome>((resolve) => {
      const onConfirm = (error: unknown): void => {
        const unroutable = this.#takeReturned(options.messageId);
        resolve(error ? 'failed' : unroutable ? 'unroutable' : 'confirmed');
      };
      try {
        this.#channel.publish(exchange, routingKey, Buffer.from(body), { persistent: true, ...options }, onConfirm);
      } catch {
        resolve('failed'); // on a closed channel amqplib throws and does not call back
      }
    });
    this.#inFlight -= 1;
    this.#waiting.shift()?.();
    return outcome;
  }

  #takeReturned(id: string): boolean {
    const count = this.#returned.get(id) ?? 0;
    if (count > 1) this.#returned.set(id, count - 1);
    else this.#returned.delete(id);
    return count > 0;
  }
}

/** What publishes on one connection: a confirm channel for messages and a plain channel for replies. */
export interface RabbitPublisher {
  /** See `ConfirmSender.send`. */
  send(frame: OutgoingFrame, abort: AbortSignal): Promise<PublishOutcome>;
  /** Sends the reply that the consumer of `queue` has applied a message. Not confirmed: a lost reply does no harm. */
  sendReply(replyTo: string, messageId: string, queue: string): void;
  /** This connection's own queue for replies. */
  replyAddress: string;
  /** RabbitMQ accepts no messages now, because of a memory or disk alarm. It says when the alarm ends. */
  isBlocked(): boolean;
}

/** @throws when a channel, an exchange or the reply queue cannot be opened */
export async function openRabbitPublisher(
  connection: ChannelModel,
  lifetime: AbortController,
  topology: Topology,
  onReply: ReplyListener,
): Promise<RabbitPublisher> {
  let blocked = false;
  connection.on('blocked', () => {
    blocked = true;
  });
  connection.on('unblocked', () => {
    blocked = false;
  });
  const channel = guard(await connection.createConfirmChannel(), lifetime);
  await declareExchanges(channel, topology);
  const replies = guard(await connection.createChannel(), lifetime);
  const replyAddress = await openReplyQueue(replies, lifetime, onReply);
  const sender = new ConfirmSender(channel, lifetime.signal);
  return {
    send: (frame, abort) => sender.send(frame, abort),
    sendReply: (replyTo, messageId, queue) => {
      if (blocked || lifetime.signal.aborted) return;
      try {
        replies.publish('', replyTo, Buffer.alloc(0), { correlationId: messageId, type: queue });
      } catch {
        // The channel is closing; its 'close' event aborts the lifetime.
      }
    },
    replyAddress,
    isBlocked: () => blocked,
  };
}

async function openReplyQueue(channel: Channel, lifetime: AbortController, onReply: ReplyListener): Promise<string> {
  const { queue } = await channel.assertQueue('', { exclusive: true, durable: false, autoDelete: true });
  const onDelivery = (raw: { properties: { correlationId?: unknown; type?: unknown } } | null): void => {
    if (raw === null) lifetime.abort(new Error('reply queue was deleted'));
    else onReply(String(raw.properties.correlationId), String(raw.properties.type));
  };
  await channel.consume(queue, onDelivery, { noAck: true, exclusive: true });
  return queue;
}
