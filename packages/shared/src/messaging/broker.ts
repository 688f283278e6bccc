// What the mesh asks of a message transport. Two keep this promise: RabbitMQ (rabbit-broker.ts) and one inside
// the process for `npm start` (memory-broker.ts); the same contract suite runs on both. A message is delivered at
// least once and in no promised order, so what a handler does must bear repetition and reordering.
import type { Logger } from '../telemetry/logger.ts';

/** One message on its way out; `body` is CloudEvents JSON text. */
export interface OutgoingMessage {
  id: string;
  routingKey: string;
  body: string;
  /** An unroutable mandatory message is reported as such; any other unroutable message is dropped by the exchange. */
  mandatory: boolean;
  /** Address (of `Broker.replyAddress`) that is told once a consumer has applied the message. */
  replyTo?: string | undefined;
}

/**
 * `confirmed`: the transport has taken the message durably (in memory: its consumers have applied it).
 * `unroutable`: no queue took it. `failed`: refused, cut off or not confirmed in time, so it may or may not arrive.
 */
export type PublishOutcome = 'confirmed' | 'unroutable' | 'failed';

export interface IncomingMessage {
  id: string;
  routingKey: string;
  body: string;
  redelivered: boolean;
}

export interface Consumer {
  queue: string;
  /** Topic patterns the queue is bound to. */
  bindings: readonly string[];
  /** Most messages in hand at once. Default 20. */
  prefetch?: number;
  /**
   * Returning means applied. `Unprocessable` goes to the dead letters at once; what `isTransient` calls transient is
   * retried with back-off for as long as it lasts; any other error is retried a few times, then dead-lettered.
   */
  handle(message: IncomingMessage): Promise<void>;
  /** Told before a message is set aside, so that what depends on the queue can stop trusting its own state. */
  onDeadLetter?(message: IncomingMessage, reason: string): Promise<void>;
}

/** Thrown by a handler for a message no repetition will make readable. */
export class Unprocessable extends Error {
  override readonly name = 'Unprocessable';
}

export interface RetryPolicy {
  /** Attempts for an error that is neither hopeless nor transient. */
  attempts: number;
  /** First pause in milliseconds; doubles up to `maxDelayMs`. */
  delayMs: number;
  maxDelayMs: number;
  isTransient(error: unknown): boolean;
}

export interface BrokerOptions {
  log: Logger;
  /** Put before every exchange and queue name, so that several meshes can share a broker. */
  prefix?: string;
  retry: RetryPolicy;
  /** Milliseconds to wait for a batch's confirms before its messages count as failed. Default 5,000. */
  confirmTimeoutMs?: number;
}

export interface Broker {
  /** Publishes the batch with one wait for all its confirms; outcomes in the order of the messages. Never rejects. */
  publish(messages: readonly OutgoingMessage[]): Promise<PublishOutcome[]>;
  /** Declares queue and bindings and consumes until `close`, through every reconnection. Does not wait for a connection. */
  consume(consumer: Consumer): void;
  /** Where a consumer can tell this process that it applied a message; undefined while there is no connection. */
  replyAddress(): string | undefined;
  /** Calls back with the id of each message that a consumer has applied and whose `replyTo` was this process. */
  onReply(listener: (messageId: string) => void): void;
  isConnected(): boolean;
  /** Stops taking messages, lets those in hand finish (bounded by `timeoutMs`, default 5,000), and disconnects. */
  close(timeoutMs?: number): Promise<void>;
}

/** A message set aside, with why and when. */
export interface DeadLetter {
  id: string;
  queue: string;
  routingKey: string;
  reason: string;
  attempts: number;
  /** ISO 8601. */
  failedAt: string;
  body: string;
}

/** The operator's side: look, put back into the queue it came from, or throw away. Ids select; no ids selects all. */
export interface DeadLetterStore {
  list(): Promise<DeadLetter[]>;
  /** @returns how many were put back */
  replay(ids?: readonly string[]): Promise<number>;
  /** @returns how many were thrown away */
  discard(ids?: readonly string[]): Promise<number>;
  close(): Promise<void>;
}
