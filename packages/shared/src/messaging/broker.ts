// What the services require of a message transport. There are two implementations: RabbitMQ (rabbitmq/) and one inside
// the process for `npm start` (in-memory/). The same contract suite runs on both. A message is delivered at least once
// and in no guaranteed order, so a handler must tolerate duplicates and reordering.
import type { Logger } from '../telemetry/logger.ts';
import type { Tracing } from '../telemetry/tracing.ts';

/** A message to publish. */
export interface OutgoingMessage {
  id: string;
  routingKey: string;
  /** CloudEvents JSON text. */
  body: string;
  /** An unroutable message is reported as `unroutable` if it is mandatory; otherwise it is dropped and `confirmed`. */
  mandatory: boolean;
  /** Address from `Broker.replyAddress`. A consumer that has applied the message sends a reply there. */
  replyTo?: string | undefined;
  /** The W3C trace context in which it was recorded. The body has it, too. */
  traceparent?: string | undefined;
}

/**
 * `confirmed`: the transport has stored the message durably (in memory: its consumers have applied it).
 * `unroutable`: no queue is bound to its routing key.
 * `failed`: rejected, disconnected or not confirmed in time. The message may or may not arrive.
 */
export type PublishOutcome = 'confirmed' | 'unroutable' | 'failed';

export interface IncomingMessage {
  id: string;
  routingKey: string;
  body: string;
  redelivered: boolean;
  /**
   * The user of the broker that published it, as the broker has checked it. Undefined when the publisher named none, and
   * for a replayed or requeued copy: who has copied a message says nothing about who published it.
   */
  userId?: string | undefined;
  /** Whether it is a replayed dead letter, or a copy that an interrupted consumer has put back. */
  isCopy?: boolean;
  /**
   * One uninterrupted subscription to the queue. Within a session, messages come in the order of the queue. Between two
   * sessions anything may have been lost.
   */
  session: string;
  /** Aborts when the session ends: the broker then gives the message to a later session. */
  signal: AbortSignal;
}

export interface Consumer {
  queue: string;
  /** What the queue is bound to: topic patterns for events, and the name of heartbeats if it takes them. */
  bindings: readonly string[];
  /** Maximum number of unacknowledged messages. Default 20. */
  prefetch?: number;
  /**
   * Called for the first time in the order of the queue, before the next message is handled. Returning means that the
   * message is applied and its sender gets a reply. Returning `ignored` acknowledges it without a reply. A message for which it throws `Unprocessable` is dead-lettered at
   * once. A transient error (`RetryPolicy.isTransient`) is retried with back-off for as long as it occurs. Any other
   * error gets `RetryPolicy.attempts` attempts, then the message is dead-lettered.
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: a handler that returns nothing has applied the message
  handle(message: IncomingMessage): Promise<'ignored' | void>;
  /** Called before a message is dead-lettered, so that a projection can invalidate what depends on the queue. */
  onDeadLetter?(message: IncomingMessage, reason: string): Promise<void>;
}

/** Thrown by a handler for a message that fails on every attempt, such as one that cannot be parsed. */
export class Unprocessable extends Error {
  override readonly name = 'Unprocessable';
}

export interface RetryPolicy {
  /** Maximum number of attempts for an error that is neither `Unprocessable` nor transient. */
  attempts: number;
  /** First pause in milliseconds. It doubles with each attempt up to `maxDelayMs`. */
  delayMs: number;
  maxDelayMs: number;
  isTransient(error: unknown): boolean;
}

export interface BrokerOptions {
  log: Logger;
  /** Default `noTracing`. */
  tracing?: Tracing;
  /** Prefix of every exchange and queue name, so that several stacks can share a broker. Default none. */
  prefix?: string;
  retry: RetryPolicy;
  /** How long to wait for the confirms of a batch, in milliseconds, before its messages are `failed`. Default 5,000. */
  confirmTimeoutMs?: number;
}

/** Called with the id of a message, and the queue whose consumer has applied it. */
export type ReplyListener = (messageId: string, queue: string) => void;

export interface Broker {
  /** Publishes a batch with one wait for all its confirms. Never rejects. @returns one outcome per message, in order */
  publish(messages: readonly OutgoingMessage[]): Promise<PublishOutcome[]>;
  /** Declares queue and bindings and consumes until `close`, across reconnections. Does not wait for a connection. */
  consume(consumer: Consumer): void;
  /** This process's address for replies; undefined while there is no connection. */
  replyAddress(): string | undefined;
  /** Calls `listener` for each message whose `replyTo` was this process and that the consumer of `queue` has applied. */
  onReply(listener: ReplyListener): void;
  /** The user that the broker knows this process by. */
  userName(): string;
  isConnected(): boolean;
  /** Why it is not connected, in words for an operator; undefined while it is. */
  problem(): string | undefined;
  /** How many dead letters the queues have that this process consumes; null while that is not known. Never rejects. */
  countDeadLetters(): Promise<number | null>;
  /** Stops consuming, waits for running handlers for at most `timeoutMs` milliseconds (default 5,000), disconnects. */
  close(timeoutMs?: number): Promise<void>;
}

/** A broker as a plain object, so that a decorator can copy it with `...`. */
export function plainBroker(broker: Broker): Broker {
  return {
    publish: (messages) => broker.publish(messages),
    consume: (consumer) => broker.consume(consumer),
    replyAddress: () => broker.replyAddress(),
    onReply: (listener) => broker.onReply(listener),
    userName: () => broker.userName(),
    isConnected: () => broker.isConnected(),
    problem: () => broker.problem(),
    countDeadLetters: () => broker.countDeadLetters(),
    close: (timeoutMs) => broker.close(timeoutMs),
  };
}

/** A message that could not be applied, with the reason and the time. */
export interface DeadLetter {
  id: string;
  queue: string;
  routingKey: string;
  reason: string;
  attempts: number;
  /** ISO 8601. */
  failedAt: string;
  /** `IncomingMessage.userId`. */
  publishedBy?: string | undefined;
  body: string;
}

/** An operator's access to the dead letters. `ids` selects some of them; without `ids` all are selected. */
export interface DeadLetterStore {
  list(): Promise<DeadLetter[]>;
  /** Puts messages back into the queue they came from. @returns how many */
  replay(ids?: readonly string[]): Promise<number>;
  /** Deletes dead letters. @returns how many */
  discard(ids?: readonly string[]): Promise<number>;
  close(): Promise<void>;
}
