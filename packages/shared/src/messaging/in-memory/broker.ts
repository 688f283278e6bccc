// The transport inside one process, for `npm start`. The promise: `confirmed` means that the consumers of every bound
// queue have applied the message or that its dead letter is on disk. The outbox marks only confirmed rows, so a killed
// process loses nothing. All services of the process share one hub. Each has a Broker of its own, which it can close.
import { settleWithin } from '../../backoff.ts';
import { matchesBinding } from '../../contracts/queues.ts';
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
import { DeadLetterFiles } from './dead-letters.ts';
import { type Enqueued, MemoryQueue, memoryTransport } from './queue.ts';

export interface MemoryHub {
  /** The counterpart of `connectRabbit`. It ignores `prefix`, because a hub belongs to one stack. */
  connect(options: BrokerOptions): Broker;
}

/** @param deadLetterDir folder of the dead letters, one file each (dead-letters.ts) */
export function createMemoryHub({ deadLetterDir }: { deadLetterDir: string }): MemoryHub {
  const hub = new Hub(deadLetterDir);
  return { connect: (options) => plainBroker(new MemoryBroker(hub, options)) };
}

/** What the brokers of one process share: queues, reply addresses, dead letters. It is idle without a consumer. */
class Hub {
  readonly #files: DeadLetterFiles;
  readonly #queues = new Map<string, MemoryQueue>();
  readonly #repliers = new Map<string, ReplyListener>();
  #brokers = 0;
  #stopReplays: (() => Promise<void>) | undefined;

  constructor(deadLetterDir: string) {
    this.#files = new DeadLetterFiles(deadLetterDir);
  }

  /** @returns the reply address of a new broker, whose replies go to `onReply` */
  register(onReply: ReplyListener): string {
    this.#brokers += 1;
    const address = `memory.${this.#brokers}`;
    this.#repliers.set(address, onReply);
    return address;
  }

  async unregister(address: string): Promise<void> {
    this.#repliers.delete(address);
    if ([...this.#queues.values()].some((queue) => queue.hasConsumers())) return;
    const stop = this.#stopReplays;
    this.#stopReplays = undefined;
    await stop?.();
  }

  queuesFor(routingKey: string): MemoryQueue[] {
    return [...this.#queues.values()].filter((queue) =>
      queue.isBoundTo((binding) => matchesBinding(binding, routingKey)),
    );
  }

  /** @returns `unsubscribe`, see `MemoryQueue.subscribe` */
  subscribe(consumer: Consumer, { retry, log, tracing }: BrokerOptions): (timeoutMs: number) => Promise<void> {
    const unsubscribe = this.#queue(consumer.queue).subscribe({ consumer, retry, log, tracing });
    // Replays that an operator requested, also those requested while no process was running.
    this.#stopReplays ??= this.#files.watch(log, async ({ queue, id, routingKey, body }) => {
      return (await this.#queues.get(queue)?.enqueue({ id, routingKey, body, isCopy: true }).accepted) ?? false;
    });
    return unsubscribe;
  }

  countDeadLetters(queues: ReadonlySet<string>): Promise<number> {
    return this.#files.count(queues);
  }

  #queue(name: string): MemoryQueue {
    const known = this.#queues.get(name);
    if (known) return known;
    const queue = new MemoryQueue({
      sendReply: (replyTo, messageId) => this.#repliers.get(replyTo)?.(messageId, name),
      deadLetter: ({ id, routingKey, userId: publishedBy, body }, reason, attempts) => {
        const failedAt = new Date().toISOString();
        return this.#files.store({ id, queue: name, routingKey, reason, attempts, failedAt, publishedBy, body });
      },
    });
    this.#queues.set(name, queue);
    return queue;
  }
}

/**
 * States:
 * - open: from the constructor on. There is no connection to lose.
 * - closing, from `close` on: `publish` fails, `consume` does nothing. Running handlers and publishes may finish until
 *   the timeout, then publishes fail.
 * - closed: replies to its address are dropped.
 */
class MemoryBroker implements Broker {
  readonly #hub: Hub;
  readonly #options: BrokerOptions;
  readonly #address: string;
  readonly #replyListeners: ReplyListener[] = [];
  readonly #unsubscribes: ((timeoutMs: number) => Promise<void>)[] = [];
  readonly #consumed = new Set<string>();
  readonly #publishing = new Set<Promise<unknown>>();
  /** One per running publish; aborting it ends the wait. */
  readonly #waits = new Set<AbortController>();
  #closed: Promise<void> | undefined;

  constructor(hub: Hub, options: BrokerOptions) {
    this.#hub = hub;
    this.#options = options;
    this.#address = hub.register((messageId, queue) => {
      for (const listener of this.#replyListeners) queueMicrotask(() => listener(messageId, queue));
    });
  }

  publish(messages: readonly OutgoingMessage[]): Promise<PublishOutcome[]> {
    const send = () => this.#publish(messages);
    const traced = sendInSpan(this.#options.tracing ?? noTracing, memoryTransport, messages, send);
    const work = traced.finally(() => this.#publishing.delete(work));
    this.#publishing.add(work);
    return work;
  }

  consume(consumer: Consumer): void {
    if (this.#closed) return;
    this.#consumed.add(consumer.queue);
    this.#unsubscribes.push(this.#hub.subscribe(consumer, this.#options));
  }

  replyAddress(): string | undefined {
    return this.#closed ? undefined : this.#address;
  }

  onReply(listener: ReplyListener): void {
    this.#replyListeners.push(listener);
  }

  /** The name of the service: in one process there are no other users. */
  userName(): string {
    return `${this.#options.log.bindings().service ?? 'promopulse'}`;
  }

  problem(): undefined {
    return undefined;
  }

  isConnected(): boolean {
    return !this.#closed;
  }

  async countDeadLetters(): Promise<number | null> {
    if (this.#closed) return null;
    return this.#hub.countDeadLetters(this.#consumed).catch(() => null);
  }

  close(timeoutMs = 5_000): Promise<void> {
    this.#closed ??= this.#close(timeoutMs);
    return this.#closed;
  }

  async #publish(messages: readonly OutgoingMessage[]): Promise<PublishOutcome[]> {
    const outcomes = messages.map((): PublishOutcome => 'failed');
    if (this.#closed) return outcomes;
    const enqueued: Enqueued[] = [];
    const all = messages.map(async ({ id, routingKey, body, mandatory, replyTo }, index) => {
      const queues = this.#hub.queuesFor(routingKey);
      // A queue that accepted this id late, after an earlier publish had failed, does not get the message again.
      const enqueuedHere = queues
        .filter((queue) => !queue.wasAcceptedLate(id))
        .map((queue) => queue.enqueue({ id, routingKey, body, userId: this.userName() }, replyTo));
      enqueued.push(...enqueuedHere);
      const accepted = await Promise.all(enqueuedHere.map((entry) => entry.accepted));
      if (!accepted.every(Boolean)) return;
      outcomes[index] = mandatory && queues.length === 0 ? 'unroutable' : 'confirmed';
    });
    const wait = new AbortController();
    this.#waits.add(wait);
    await settleWithin(this.#options.confirmTimeoutMs ?? 5_000, Promise.all(all), wait);
    this.#waits.delete(wait);
    for (const entry of enqueued) entry.abort();
    return [...outcomes]; // a copy, because a message accepted later must not change the result
  }

  async #close(timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    await Promise.all(this.#unsubscribes.map((unsubscribe) => unsubscribe(timeoutMs)));
    await settleWithin(Math.max(0, deadline - performance.now()), Promise.all(this.#publishing));
    for (const wait of this.#waits) wait.abort();
    await this.#hub.unregister(this.#address);
  }
}
