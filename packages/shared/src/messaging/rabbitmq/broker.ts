// The transport over RabbitMQ. It survives every loss of a connection (connection.ts). Publishing uses one connection
// and each consumer another one: during a memory or disk alarm RabbitMQ stops reading from connections that publish.
// A consumer on the same connection could then not acknowledge messages, which would never end the alarm.
import { settleWithin } from '../../backoff.ts';
import { contentType } from '../../contracts/envelope.ts';
import { noTracing } from '../../telemetry/tracing.ts';
import {
  type Broker,
  type BrokerOptions,
  type Consumer,
  type OutgoingMessage,
  type PublishOutcome,
  plainBroker,
  type ReplyListener,
} from '../broker.ts';
import { sendInSpan } from '../message-spans.ts';
import { type MaintainedConnection, maintainConnection } from './connection.ts';
import { openRabbitConsumer, type RabbitConsumer } from './consumer.ts';
import type { RabbitEndpoint } from './endpoint.ts';
import { type OutgoingFrame, openRabbitPublisher, type RabbitPublisher } from './publisher.ts';
import { type Topology, topologyOf } from './topology.ts';

/** Time reserved for a confirm and an acknowledgement at the end of `close`. */
const confirmReserveMs = 250;

/** Returns at once: the connections are opened, and reopened after a loss, in the background. */
export function connectRabbit(endpoint: RabbitEndpoint, options: BrokerOptions): Broker {
  return plainBroker(new RabbitBroker(endpoint, options));
}

/**
 * States:
 * - open: `publish` fails at once without a connection or during an alarm; consumers consume while they are connected.
 * - closing, from `close` on: consumers are cancelled, running handlers may finish until the timeout, pauses between
 *   attempts end and their messages are published to their queue again.
 * - closed: all connections are closed.
 */
class RabbitBroker implements Broker {
  readonly #endpoint: RabbitEndpoint;
  readonly #options: BrokerOptions;
  readonly #topology: Topology;
  /** Name of the service, for the names of the connections. */
  readonly #service: string;
  readonly #publisher: MaintainedConnection<RabbitPublisher>;
  readonly #consumers: MaintainedConnection<RabbitConsumer>[] = [];
  readonly #userName: string;
  readonly #replyListeners: ReplyListener[] = [];
  readonly #deliveries = new Set<Promise<void>>();
  readonly #publishing = new Set<Promise<unknown>>();
  readonly #closing = new AbortController();
  /** From here on a copy or a dead letter might be stored without its original being acknowledged. */
  #publishUntil = Number.POSITIVE_INFINITY;
  #closed: Promise<void> | undefined;

  constructor(endpoint: RabbitEndpoint, options: BrokerOptions) {
    this.#endpoint = endpoint;
    this.#options = options;
    this.#topology = topologyOf(options.prefix ?? '');
    this.#service = `${options.log.bindings().service ?? 'promopulse'}`;
    this.#userName = decodeURIComponent(new URL(endpoint.url).username) || 'guest';
    const onReply = (messageId: string, queue: string): void => {
      for (const listener of this.#replyListeners) listener(messageId, queue);
    };
    this.#publisher = maintainConnection({
      endpoint,
      log: options.log,
      name: `${this.#service} publisher`,
      setUp: (connection, lifetime) => openRabbitPublisher(connection, lifetime, this.#topology, onReply),
    });
  }

  async publish(messages: readonly OutgoingMessage[]): Promise<PublishOutcome[]> {
    if (this.#closed) return messages.map(() => 'failed');
    const frames = messages.map(({ id, routingKey, body, mandatory, replyTo }) => ({
      exchange: this.#topology.exchangeFor(routingKey),
      routingKey,
      body,
      options: { messageId: id, contentType, mandatory, userId: this.#userName, ...(replyTo && { replyTo }) },
    }));
    const { transport } = this.#topology;
    const work = sendInSpan(this.#options.tracing ?? noTracing, transport, messages, () => this.#send(frames));
    this.#publishing.add(work);
    return work.finally(() => this.#publishing.delete(work));
  }

  consume(consumer: Consumer): void {
    if (this.#closed) return;
    const { log, retry, tracing } = this.#options;
    const options = {
      tracing,
      topology: this.#topology,
      closing: this.#closing.signal,
      inFlight: this.#deliveries,
      log,
      retry,
      publish: async (frame: OutgoingFrame) => {
        if (performance.now() > this.#publishUntil) throw new Error('the broker closes too soon');
        const [outcome] = await this.#send([frame]);
        if (outcome !== 'confirmed') throw new Error(`the message was ${outcome}`);
      },
      sendReply: (replyTo: string, messageId: string) =>
        this.#publisher.session()?.sendReply(replyTo, messageId, consumer.queue),
    };
    const connection = maintainConnection({
      endpoint: this.#endpoint,
      log,
      name: `${this.#service} ${consumer.queue}`,
      setUp: (connection, lifetime) => openRabbitConsumer(connection, lifetime, consumer, options),
    });
    this.#consumers.push(connection);
  }

  replyAddress(): string | undefined {
    return this.#publisher.session()?.replyAddress;
  }

  onReply(listener: ReplyListener): void {
    this.#replyListeners.push(listener);
  }

  userName(): string {
    return this.#userName;
  }

  isConnected(): boolean {
    const publisher = this.#publisher.session();
    return publisher !== undefined && !publisher.isBlocked() && this.#consumers.every((each) => each.session());
  }

  problem(): string | undefined {
    const publisher = this.#publisher.session();
    if (publisher?.isBlocked()) return 'RabbitMQ has an alarm (memory or disk) and takes no messages';
    return [this.#publisher, ...this.#consumers].map((each) => each.problem()).find((problem) => problem !== undefined);
  }

  async countDeadLetters(): Promise<number | null> {
    const counts = await Promise.all(this.#consumers.map((each) => each.session()?.countDeadLetters() ?? null));
    return counts.reduce((sum, count) => (sum === null || count === null ? null : sum + count), 0);
  }

  close(timeoutMs = 5_000): Promise<void> {
    this.#closed ??= this.#close(timeoutMs);
    return this.#closed;
  }

  /** Sends frames and waits once for all their confirms. */
  async #send(frames: readonly OutgoingFrame[]): Promise<PublishOutcome[]> {
    const outcomes = frames.map((): PublishOutcome => 'failed');
    const publisher = this.#publisher.session();
    if (!publisher || publisher.isBlocked()) return outcomes;
    const abort = new AbortController();
    const all = frames.map(async (frame, index) => {
      const outcome = await publisher.send(frame, abort.signal);
      if (!abort.signal.aborted) outcomes[index] = outcome;
    });
    if (await settleWithin(this.#options.confirmTimeoutMs ?? 5_000, Promise.all(all))) return outcomes;
    abort.abort();
    // A blocked RabbitMQ holds the messages and confirms them later. Silence without an alarm is a dead connection.
    if (!publisher.isBlocked() && this.#publisher.session() === publisher) {
      this.#publisher.restart('no confirm in time');
    }
    return outcomes;
  }

  async #close(timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    this.#publishUntil = deadline - confirmReserveMs;
    const remainingMs = (): number => Math.max(0, deadline - performance.now());
    const consumers = this.#consumers.map((each) => each.session()).filter((session) => session !== undefined);
    await settleWithin(remainingMs(), Promise.all(consumers.map((consumer) => consumer.cancel())));
    this.#closing.abort(); // after the cancel, so that RabbitMQ does not redeliver a requeued message to this process
    await settleWithin(remainingMs(), Promise.all(this.#deliveries));
    const flushes = consumers.map((consumer) => consumer.flush());
    await settleWithin(remainingMs(), Promise.all([...this.#publishing, ...flushes]));
    await Promise.all([...this.#consumers, this.#publisher].map((connection) => connection.close()));
  }
}
