// What every transport does with one delivery. The promise: a delivery ends in one of three ways. The message is
// applied (or ignored), or durably dead-lettered with a reason, or the delivery is interrupted and the queue keeps the message.
// Nothing is dropped. Retries run in the process: a transport's own requeue has no pause between attempts and counts
// toward its delivery limit.
import { backOffMs, sleep } from '../backoff.ts';
import { describeError } from '../telemetry/describe-error.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Consumer, IncomingMessage, RetryPolicy } from './broker.ts';

export type Settlement = 'applied' | 'ignored' | 'dead_lettered' | 'interrupted';

export interface Delivery {
  message: IncomingMessage;
  consumer: Consumer;
  retry: RetryPolicy;
  log: Logger;
  /** Aborts when the transport closes or loses the message. A pause then ends at once; a running handler finishes. */
  signal: AbortSignal;
  /** Stores the dead letter. Rejects unless it is stored durably. */
  deadLetter(reason: string, attempts: number): Promise<void>;
}

/** Handles one message until it is settled. Never rejects. */
export async function deliver(delivery: Delivery): Promise<Settlement> {
  const { message, consumer, retry, signal } = delivery;
  let failures = 0;
  for (let attempt = 1; !signal.aborted; attempt += 1) {
    try {
      return (await consumer.handle(message)) ?? 'applied';
    } catch (error) {
      const transient = isTransient(retry, error);
      if (!transient) failures += 1;
      const log = logOf(delivery);
      if (isUnprocessable(error) || failures >= retry.attempts) {
        log.error({ err: error, attempts: attempt }, 'dead-lettering the message');
        return deadLetterUntilStored(delivery, log, reasonOf(error), attempt);
      }
      // At level `warn` a long outage would write one line per message and attempt.
      log[attempt === 1 ? 'warn' : 'debug'](
        { err: error, attempts: attempt, transient },
        'handling the message failed, retrying',
      );
      await sleep(backOffMs(attempt, retry), signal);
    }
  }
  return 'interrupted';
}

/** Retries until the dead letter is stored: a requeue would run the handler again for a message that has failed. */
async function deadLetterUntilStored(
  { message, consumer, retry, signal, deadLetter }: Delivery,
  log: Logger,
  reason: string,
  attempts: number,
): Promise<Settlement> {
  let onDeadLetterDone = false;
  for (let attempt = 1; ; attempt += 1) {
    try {
      if (!onDeadLetterDone) await consumer.onDeadLetter?.(message, reason);
      onDeadLetterDone = true;
    } catch (error) {
      log.warn({ err: error }, 'onDeadLetter of the consumer failed');
      // Stop calling a listener that always fails: it would hold back the message forever.
      onDeadLetterDone = attempt >= retry.attempts && !isTransient(retry, error);
    }
    try {
      if (onDeadLetterDone) {
        await deadLetter(reason, attempts);
        return 'dead_lettered';
      }
    } catch (error) {
      log.warn({ err: error }, 'storing the dead letter failed, retrying');
    }
    await sleep(backOffMs(attempt, retry), signal);
    if (signal.aborted) return 'interrupted';
  }
}

function logOf({ log, consumer, message }: Delivery): Logger {
  return log.child({ queue: consumer.queue, message_id: message.id, routing_key: message.routingKey });
}

function isTransient(retry: RetryPolicy, error: unknown): boolean {
  try {
    return !isUnprocessable(error) && retry.isTransient(error);
  } catch {
    return false;
  }
}

function isUnprocessable(error: unknown): boolean {
  return (error as Partial<Error> | null | undefined)?.name === 'Unprocessable';
}

/** Class and code of the error and its causes. Never a message, because that may quote the content of the delivery. */
function reasonOf(error: unknown): string {
  const parts: string[] = [];
  let current: unknown = describeError(error);
  for (let depth = 0; current !== undefined && depth < 3; depth += 1) {
    const { type, code, constraint, cause } = current as Record<string, unknown>;
    const words = [type, code, constraint].filter((word) => typeof word === 'string' || typeof word === 'number');
    parts.push(words.map(safeWord).join(' '));
    current = cause;
  }
  return parts.join(' <- ');
}

function safeWord(word: string | number): string {
  return String(word)
    .replaceAll(/[^\w.:-]/g, '')
    .slice(0, 100);
}
