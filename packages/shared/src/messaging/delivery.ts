// What every transport does with one delivery. The promise: a message leaves a consumer's hands in one of three ways:
// applied, durably set aside with a reason, or interrupted, and then it belongs to the queue again. Nothing is dropped.
// Retries happen in process: a transport's own requeue has no pause between attempts and counts toward its limits.
import { backOffMs, sleep } from '../backoff.ts';
import { describeError } from '../telemetry/describe-error.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Consumer, IncomingMessage, RetryPolicy } from './broker.ts';

export type Settlement = 'applied' | 'set_aside' | 'interrupted';

export interface Delivery {
  message: IncomingMessage;
  consumer: Consumer;
  retry: RetryPolicy;
  log: Logger;
  /** Aborts when the transport closes or loses the message: pauses end at once, a running handler is left to finish. */
  signal: AbortSignal;
  /** Stores the dead letter; rejects unless that was durable. */
  deadLetter(reason: string, attempts: number): Promise<void>;
}

/** Never rejects. */
export async function deliver(delivery: Delivery): Promise<Settlement> {
  const { message, consumer, retry, signal } = delivery;
  let failures = 0;
  for (let attempt = 1; !signal.aborted; attempt += 1) {
    try {
      await consumer.handle(message);
      return 'applied';
    } catch (error) {
      const transient = isTransient(retry, error);
      if (!transient) failures += 1;
      const log = logOf(delivery);
      if (isHopeless(error) || failures >= retry.attempts) {
        log.error({ err: error, attempts: attempt }, 'message goes to the dead letters');
        return deadLetterUntilStored(delivery, log, reasonOf(error), attempt);
      }
      // A long outage would otherwise write a line per message and attempt.
      log[attempt === 1 ? 'warn' : 'debug'](
        { err: error, attempts: attempt, transient },
        'message will be tried again',
      );
      await sleep(backOffMs(attempt, retry), signal);
    }
  }
  return 'interrupted';
}

/** Keeps trying: requeueing instead would run the handler again for a message already judged. */
async function deadLetterUntilStored(
  { message, consumer, retry, signal, deadLetter }: Delivery,
  log: Logger,
  reason: string,
  attempts: number,
): Promise<Settlement> {
  let told = false;
  for (let attempt = 1; ; attempt += 1) {
    try {
      if (!told) await consumer.onDeadLetter?.(message, reason);
      told = true;
    } catch (error) {
      log.warn({ err: error }, 'the consumer could not be told of its dead letter');
      // A listener that is broken for good must not keep a hopeless message in hand for ever.
      told = attempt >= retry.attempts && !isTransient(retry, error);
    }
    try {
      if (told) {
        await deadLetter(reason, attempts);
        return 'set_aside';
      }
    } catch (error) {
      log.warn({ err: error }, 'the dead letter could not be stored yet');
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
    return !isHopeless(error) && retry.isTransient(error);
  } catch {
    return false;
  }
}

function isHopeless(error: unknown): boolean {
  return (error as Partial<Error> | null | undefined)?.name === 'Unprocessable';
}

/** Class and code of the error and its causes; never a message, which may quote what the delivery holds. */
function reasonOf(error: unknown): string {
  const words: string[] = [];
  let link: unknown = describeError(error);
  for (let depth = 0; link !== undefined && depth < 3; depth += 1) {
    const { type, code, constraint, cause } = link as Record<string, unknown>;
    const said = [type, code, constraint].filter((word) => typeof word === 'string' || typeof word === 'number');
    words.push(
      said
        .map((word) =>
          String(word)
            .replaceAll(/[^\w.:-]/g, '')
            .slice(0, 100),
        )
        .join(' '),
    );
    link = cause;
  }
  return words.join(' <- ');
}
