// An operator's access to the dead letters in RabbitMQ. Reading must have no side effect: a requeued message counts
// toward the queue's delivery limit and is dropped at the limit. So each dead letter is read once, published again with
// a confirm, and only then acknowledged. A crash in between leaves a duplicate, never a gap.
import { randomUUID } from 'node:crypto';
import type { ChannelModel, ConfirmChannel, GetMessage } from 'amqplib';
import { settleWithin } from '../../backoff.ts';
import { queuesOf } from '../../contracts/queues.ts';
import type { DeadLetter, DeadLetterStore } from '../broker.ts';
import { guard, openConnection } from './connection.ts';
import type { RabbitEndpoint } from './endpoint.ts';
import { ConfirmSender, frameForQueue, type OutgoingFrame } from './publisher.ts';
import { declareDeadQueue, declareExchanges, messageHeaders, type Topology, topologyOf } from './topology.ts';

/** What to do with a dead letter. */
type Action = 'keep' | 'replay' | 'discard';

const timeoutMs = 10_000;

/** @throws when RabbitMQ cannot be reached within 10 s */
export async function openRabbitDeadLetters(
  endpoint: RabbitEndpoint,
  { prefix = '' }: { prefix?: string } = {},
): Promise<DeadLetterStore> {
  const lifetime = new AbortController();
  const timer = setTimeout(() => lifetime.abort(new Error('RabbitMQ does not answer')), timeoutMs);
  const connection = await openConnection(endpoint, 'promopulse dead letters', lifetime).finally(() =>
    clearTimeout(timer),
  );
  const channel = guard(await connection.createConfirmChannel(), lifetime);
  const account = decodeURIComponent(new URL(endpoint.url).username);
  return new RabbitDeadLetters({ channel, lifetime, topology: topologyOf(prefix), queues: queuesOf(account) });
}

interface Opened {
  channel: ConfirmChannel;
  lifetime: AbortController;
  topology: Topology;
  /** Those that the account may use. */
  queues: readonly string[];
}

/** Open from the constructor until `close` or the end of the connection; then every method rejects. */
class RabbitDeadLetters implements DeadLetterStore {
  readonly #channel: ConfirmChannel;
  readonly #lifetime: AbortController;
  readonly #topology: Topology;
  readonly #queues: readonly string[];
  readonly #sender: ConfirmSender;

  constructor({ channel, lifetime, topology, queues }: Opened) {
    this.#channel = channel;
    this.#lifetime = lifetime;
    this.#topology = topology;
    this.#queues = queues;
    this.#sender = new ConfirmSender(channel, lifetime.signal);
  }

  list(): Promise<DeadLetter[]> {
    return this.#processAll(() => 'keep');
  }

  replay(ids?: readonly string[]): Promise<number> {
    return this.#processSelected('replay', ids);
  }

  discard(ids?: readonly string[]): Promise<number> {
    return this.#processSelected('discard', ids);
  }

  async close(): Promise<void> {
    // Close the channel first. Closing the connection could overtake the acknowledgements.
    if (!this.#lifetime.signal.aborted) await settleWithin(1_000, this.#channel.close());
    this.#lifetime.abort(new Error('closed'));
  }

  async #processSelected(action: Action, ids?: readonly string[]): Promise<number> {
    let count = 0;
    await this.#processAll(({ id }) => {
      if (ids && !ids.includes(id)) return 'keep';
      count += 1;
      return action;
    });
    return count;
  }

  /** Processes each dead letter that exists at the start exactly once, in order. @returns them */
  async #processAll(decide: (deadLetter: DeadLetter) => Action): Promise<DeadLetter[]> {
    const topology = this.#topology;
    await declareExchanges(this.#channel, topology);
    const processed: DeadLetter[] = [];
    for (const name of this.#queues) {
      for (let left = await declareDeadQueue(this.#channel, topology, name); left > 0; left -= 1) {
        const raw = await this.#channel.get(topology.deadQueue(name));
        if (!raw) break; // another process takes them at the same time
        const deadLetter = toDeadLetter(raw, name);
        const action = decide(deadLetter);
        if (action === 'keep') await this.#send(deadLetterFrame(topology.deadQueue(name), deadLetter));
        if (action === 'replay') await this.#send(frameForQueue(topology.queue(name), deadLetter));
        this.#channel.ack(raw);
        processed.push(deadLetter);
      }
    }
    return processed;
  }

  async #send(frame: OutgoingFrame): Promise<void> {
    const outcome = await this.#sender.send(frame, AbortSignal.timeout(timeoutMs));
    if (outcome === 'confirmed') return;
    throw new Error(`${frame.routingKey} did not accept ${frame.options.messageId}: ${outcome}`);
  }
}

/** @param deadQueue its full name. @throws if it does not exist or the connection ends */
export async function countDeadLetters(connection: ChannelModel, deadQueue: string): Promise<number> {
  const channel = await connection.createChannel(); // one of its own, because a failed check closes its channel
  channel.on('error', () => undefined); // the check rejects
  const { messageCount } = await channel.checkQueue(deadQueue);
  await channel.close();
  return messageCount;
}

/** The dead letter itself, for its own queue. */
function deadLetterFrame(queue: string, deadLetter: DeadLetter): OutgoingFrame {
  const frame = frameForQueue(queue, deadLetter);
  const { reason, attempts, failedAt, publishedBy } = deadLetter;
  const headers = {
    ...frame.options.headers,
    [messageHeaders.reason]: reason,
    [messageHeaders.attempts]: attempts,
    [messageHeaders.failedAt]: failedAt,
    [messageHeaders.publishedBy]: publishedBy,
  };
  return { ...frame, options: { ...frame.options, headers } };
}

/** A consumer's dead letter has its reason in our headers. One that RabbitMQ dead-lettered itself has `x-death`. */
function toDeadLetter({ properties, fields, content }: GetMessage, queue: string): DeadLetter {
  const headers = properties.headers ?? {};
  const death = headers['x-death']?.[0];
  const text = (value: unknown, fallback: string): string => (typeof value === 'string' ? value : fallback);
  const publishedBy = headers[messageHeaders.publishedBy] ?? properties.userId;
  const diedAt = death ? new Date(death.time.value * 1_000) : new Date();
  return {
    id: text(properties.messageId, randomUUID()),
    queue,
    routingKey: text(headers[messageHeaders.routingKey], death?.['routing-keys'][0] ?? fields.routingKey),
    reason: text(headers[messageHeaders.reason], `RabbitMQ: ${death?.reason ?? 'unknown'}`),
    attempts: Number(headers[messageHeaders.attempts] ?? headers['x-delivery-count'] ?? death?.count ?? 0),
    failedAt: text(headers[messageHeaders.failedAt], diedAt.toISOString()),
    ...(typeof publishedBy === 'string' && { publishedBy }),
    body: content.toString(),
  };
}
