// Sending with confirms over one connection. The promise: every `send` resolves, exactly once, with what RabbitMQ said
// or with `failed` when it can no longer say anything.
import type { Channel, ChannelModel, ConfirmChannel, Options } from 'amqplib';
import type { PublishOutcome } from '../broker.ts';
import { guard } from './connection.ts';
import { declareExchanges, type Topology } from './topology.ts';

export interface OutgoingFrame {
  exchange: string;
  routingKey: string;
  body: string;
  options: Options.Publish & { messageId: string };
}

/** `giveUp` aborts when the caller no longer waits: what has not been sent by then is not sent. */
export type Send = (post: OutgoingFrame, giveUp: AbortSignal) => Promise<PublishOutcome>;

export interface RabbitPublisher {
  send: Send;
  /** Tells another process that a message was applied; lost without harm. */
  sendReply(replyTo: string, messageId: string): void;
  /** Own queue for such replies. */
  replyAddress: string;
  /** RabbitMQ takes no messages for now (memory or disk alarm) and will say when it does again. */
  isBlocked(): boolean;
}

/** Unconfirmed messages at once; without a bound the channel buffers whatever it is given. */
const maxInFlight = 256;

export async function openRabbitPublisher(
  connection: ChannelModel,
  life: AbortController,
  topology: Topology,
  onReply: (messageId: string) => void,
): Promise<RabbitPublisher> {
  let blocked = false;
  connection.on('blocked', () => {
    blocked = true;
  });
  connection.on('unblocked', () => {
    blocked = false;
  });
  const channel = guard(await connection.createConfirmChannel(), life);
  await declareExchanges(channel, topology);
  const replies = guard(await connection.createChannel(), life);
  const replyAddress = await openReplyQueue(replies, life, onReply);
  return {
    send: confirmedSend(channel, life.signal),
    sendReply: (replyTo, messageId) => {
      if (blocked || life.signal.aborted) return;
      try {
        replies.publish('', replyTo, Buffer.alloc(0), { correlationId: messageId });
      } catch {
        // the channel is closing: its own 'close' ends this life
      }
    },
    replyAddress,
    isBlocked: () => blocked,
  };
}

async function openReplyQueue(
  channel: Channel,
  life: AbortController,
  onReply: (messageId: string) => void,
): Promise<string> {
  const { queue } = await channel.assertQueue('', { exclusive: true, durable: false, autoDelete: true });
  const take = (raw: { properties: { correlationId?: unknown } } | null): void => {
    if (raw === null) life.abort(new Error('reply queue was deleted'));
    else onReply(String(raw.properties.correlationId));
  };
  await channel.consume(queue, take, { noAck: true, exclusive: true });
  return queue;
}

export function confirmedSend(channel: ConfirmChannel, life: AbortSignal): Send {
  let inFlight = 0;
  const queued: (() => void)[] = [];
  const returned = new Map<string, number>();
  // An unroutable message comes back before its confirm. The same id can be in flight twice, hence a count.
  channel.on('return', ({ properties }) => {
    const id = String(properties.messageId);
    returned.set(id, (returned.get(id) ?? 0) + 1);
  });
  life.addEventListener('abort', () => {
    for (const goOn of queued.splice(0)) goOn();
  });

  function wasReturned(id: string): boolean {
    const count = returned.get(id) ?? 0;
    if (count > 1) returned.set(id, count - 1);
    else returned.delete(id);
    return count > 0;
  }

  return async ({ exchange, routingKey, body, options }, giveUp) => {
    while (inFlight >= maxInFlight && !life.aborted) await new Promise<void>((resolve) => queued.push(resolve));
    if (life.aborted || giveUp.aborted) {
      queued.shift()?.(); // the place this call was woken for goes to the next
      return 'failed';
    }
    inFlight += 1;
    const outcome = await new Promise<PublishOutcome>((resolve) => {
      const onConfirm = (error: unknown): void => {
        const unroutable = wasReturned(options.messageId);
        resolve(error ? 'failed' : unroutable ? 'unroutable' : 'confirmed');
      };
      try {
        channel.publish(exchange, routingKey, Buffer.from(body), { persistent: true, ...options }, onConfirm);
      } catch {
        resolve('failed'); // a closed channel throws instead of calling back
      }
    });
    inFlight -= 1;
    queued.shift()?.();
    return outcome;
  };
}
