// One queue of the in-process transport. The promise: `accepted` resolves true only after a consumer has applied the
// message or its dead letter is on disk. Until then the sender owns the message (the outbox keeps the row), so the
// content of a queue may be lost with the process.
import { randomUUID } from 'node:crypto';
import { settleWithin } from '../../backoff.ts';
import type { Logger } from '../../telemetry/logger.ts';
import type { Tracing } from '../../telemetry/tracing.ts';
import type { Consumer, RetryPolicy } from '../broker.ts';
import { deliver } from '../delivery.ts';
import type { TransportName } from '../message-spans.ts';

export interface Subscriber {
  consumer: Consumer;
  retry: RetryPolicy;
  log: Logger;
  tracing?: Tracing | undefined;
}

/** A message in the queue. A delivery adds its session. */
export interface QueuedMessage {
  id: string;
  routingKey: string;
  body: string;
  /** The service that sent it; undefined for a replay. */
  userId?: string | undefined;
  /** Whether it is a replayed dead letter. */
  isCopy?: boolean;
}

/** A subscriber of the queue, with the deliveries that its consumer handles now. */
interface ActiveSubscriber extends Subscriber {
  session: string;
  deliveries: Set<Promise<void>>;
  unsubscribing: AbortController;
}

export interface Enqueued {
  /** Whether the queue took responsibility for the message. Never rejects. */
  accepted: Promise<boolean>;
  /** The sender stops waiting. A message that no consumer has started and that no other sender waits for is removed. */
  abort(): void;
}

interface QueueOptions {
  /** Stores a dead letter. Rejects unless it is stored durably. */
  deadLetter(message: QueuedMessage, reason: string, attempts: number): Promise<void>;
  sendReply(replyTo: string, messageId: string): void;
}

interface Entry {
  message: QueuedMessage & { redelivered: boolean };
  replyTo: Set<string>;
  accepted: Promise<boolean>;
  settle(accepted: boolean): void;
  /** How many senders wait for it. */
  senders: number;
  /** The subscriber that handles it now. */
  assignee: ActiveSubscriber | undefined;
  /** A sender has stopped waiting while it was assigned. */
  expired: boolean;
}

/** There is no exchange: the name is that of RabbitMQ, so that both transports have the same spans. */
export const memoryTransport: TransportName = { system: 'promopulse.in_memory', exchange: 'promopulse.events' };

const defaultPrefetch = 20;
const maxLateIds = 10_000;
const rejected: Enqueued = { accepted: Promise.resolve(false), abort: () => undefined };

/**
 * States of an entry:
 * - waiting: in `#waiting`, without an assignee. It is removed when its last sender stops waiting or the last
 *   subscriber unsubscribes.
 * - assigned: a subscriber handles it. When that is interrupted, the entry goes back to the front of `#waiting`.
 * - expired: assigned, and a sender has stopped waiting. Later senders of the same id are rejected at once.
 * - settled: accepted or removed, and no longer here. The id of an expired entry that was accepted is remembered.
 */
export class MemoryQueue {
  readonly #deadLetter: QueueOptions['deadLetter'];
  readonly #sendReply: QueueOptions['sendReply'];
  readonly #subscribers: ActiveSubscriber[] = [];
  readonly #bindings = new Set<string>();
  readonly #entries = new Map<string, Entry>();
  readonly #waiting: Entry[] = [];
  readonly #acceptedLate = new Set<string>();

  constructor({ deadLetter, sendReply }: QueueOptions) {
    this.#deadLetter = deadLetter;
    this.#sendReply = sendReply;
  }

  /** A message whose id is already in the queue joins the first one. Without a subscriber the message is rejected. */
  enqueue(message: QueuedMessage, replyTo?: string): Enqueued {
    if (this.#subscribers.length === 0) return rejected;
    const known = this.#entries.get(message.id);
    const entry = known ?? this.#addEntry({ ...message, redelivered: false });
    // Also for a rejected sender: after a late acceptance its next publish does not enqueue the message again.
    if (replyTo) entry.replyTo.add(replyTo);
    if (known?.expired) return rejected;
    entry.senders += 1;
    return { accepted: entry.accepted, abort: () => this.#abort(entry) };
  }

  /** Whether this id was accepted after its sender had stopped waiting. True at most once per such id. */
  wasAcceptedLate(id: string): boolean {
    return this.#acceptedLate.delete(id);
  }

  /** @returns `unsubscribe`: waits for running handlers for at most `timeoutMs`, then requeues their messages */
  subscribe(subscriber: Subscriber): (timeoutMs: number) => Promise<void> {
    const active: ActiveSubscriber = {
      ...subscriber,
      session: randomUUID(),
      deliveries: new Set(),
      unsubscribing: new AbortController(),
    };
    this.#subscribers.push(active);
    for (const binding of subscriber.consumer.bindings) this.#bindings.add(binding);
    setImmediate(() => this.#dispatch());
    return (timeoutMs) => this.#unsubscribe(active, timeoutMs);
  }

  hasConsumers(): boolean {
    return this.#subscribers.length > 0;
  }

  isBoundTo(matches: (binding: string) => boolean): boolean {
    return [...this.#bindings].some(matches);
  }

  #addEntry(message: Entry['message']): Entry {
    const { promise: accepted, resolve: settle } = Promise.withResolvers<boolean>();
    const entry: Entry = {
      message,
      accepted,
      settle,
      replyTo: new Set(),
      senders: 0,
      assignee: undefined,
      expired: false,
    };
    this.#entries.set(message.id, entry);
    this.#waiting.push(entry);
    setImmediate(() => this.#dispatch()); // never call a handler inside the sender's own call
    return entry;
  }

  #abort(entry: Entry): void {
    entry.senders -= 1;
    if (this.#entries.get(entry.message.id) !== entry) return;
    if (entry.assignee) entry.expired = true;
    else if (entry.senders === 0) this.#remove(entry);
  }

  #remove(entry: Entry): void {
    this.#waiting.splice(this.#waiting.indexOf(entry), 1);
    this.#settle(entry, false);
  }

  #settle(entry: Entry, accepted: boolean): void {
    this.#entries.delete(entry.message.id);
    if (accepted && entry.expired) {
      const late = this.#acceptedLate.add(entry.message.id);
      for (const oldest of late) if (late.size > maxLateIds) late.delete(oldest);
    }
    entry.settle(accepted);
  }

  #dispatch(): void {
    while (this.#waiting.length > 0) {
      const subscriber = this.#subscribers.find(
        ({ consumer, deliveries }) => deliveries.size < (consumer.prefetch ?? defaultPrefetch),
      );
      if (!subscriber) return;
      // Round robin: the next message goes to another subscriber.
      this.#subscribers.push(...this.#subscribers.splice(this.#subscribers.indexOf(subscriber), 1));
      const entry = this.#waiting.shift() as Entry;
      entry.assignee = subscriber;
      const delivery = this.#deliver(entry, subscriber).finally(() => {
        subscriber.deliveries.delete(delivery);
        this.#dispatch();
      });
      subscriber.deliveries.add(delivery);
    }
  }

  async #deliver(entry: Entry, subscriber: ActiveSubscriber): Promise<void> {
    const { message } = entry;
    const { signal } = subscriber.unsubscribing;
    const settlement = await deliver({
      message: { ...message, session: subscriber.session, signal },
      consumer: subscriber.consumer,
      retry: subscriber.retry,
      log: subscriber.log,
      tracing: subscriber.tracing,
      transport: memoryTransport,
      signal,
      deadLetter: (reason, attempts) => this.#deadLetter(message, reason, attempts),
    });
    if (settlement === 'applied') for (const replyTo of entry.replyTo) this.#sendReply(replyTo, message.id);
    if (entry.assignee !== subscriber) return; // The message was requeued after the unsubscribe timeout.
    if (settlement === 'interrupted') this.#requeue(entry);
    else this.#settle(entry, true);
  }

  #requeue(entry: Entry): void {
    entry.assignee = undefined;
    entry.message = { ...entry.message, redelivered: true };
    this.#waiting.unshift(entry);
    if (this.#subscribers.length === 0) this.#remove(entry);
  }

  async #unsubscribe(subscriber: ActiveSubscriber, timeoutMs: number): Promise<void> {
    this.#subscribers.splice(this.#subscribers.indexOf(subscriber), 1);
    if (this.#subscribers.length === 0) for (const entry of [...this.#waiting]) this.#remove(entry);
    subscriber.unsubscribing.abort();
    await settleWithin(timeoutMs, Promise.all(subscriber.deliveries));
    for (const entry of [...this.#entries.values()]) if (entry.assignee === subscriber) this.#requeue(entry);
    this.#dispatch();
  }
}
