// What every transport does with one delivery. The promise: a delivery ends in one of three ways. The message is
// applied (or ignored), or durably dead-lettered with a reason, or the delivery is interrupted and the queue keeps the
// message. Nothing is dropped. Retries run in the process: a transport's own requeue has no pause between attempts and
// counts toward its delivery limit.
import type { Span } from '@opentelemetry/api';
import { backOffMs, sleep } from '../backoff.ts';
import { validRequestId } from '../contracts/envelope.ts';
import { describeError } from '../telemetry/describe-error.ts';
import type { Logger } from '../telemetry/logger.ts';
import { loggedTrace, parseTraceparent } from '../telemetry/trace-context.ts';
import { noTracing, type Tracing } from '../telemetry/tracing.ts';
import type { Consumer, IncomingMessage, RetryPolicy } from './broker.ts';
import { endProcessSpan, startProcessSpan, type TransportName } from './message-spans.ts';

export type Settlement = 'applied' | 'ignored' | 'dead_lettered' | 'interrupted';

export interface Delivery {
  message: IncomingMessage;
  consumer: Consumer;
  retry: RetryPolicy;
  log: Logger;
  /** Default `noTracing`. */
  tracing?: Tracing | undefined;
  transport: TransportName;
  /** Aborts when the transport closes or loses the message. A pause then ends at once; a running handler finishes. */
  signal: AbortSignal;
  /** Stores the dead letter. Rejects unless it is stored durably. */
  deadLetter(reason: string, attempts: number): Promise<void>;
}

/** A delivery with its span, if spans are recorded. */
interface SpannedDelivery extends Delivery {
  span?: Span | undefined;
}

/** How a delivery has ended. */
interface Outcome {
  settlement: Settlement;
  attempts: number;
  /** Of a message that cannot be applied. */
  error?: unknown;
}

/** Handles one message until it is settled. Never rejects. The first attempt begins before this function returns. */
export async function deliver(delivery: Delivery): Promise<Settlement> {
  const { message, consumer, transport, tracing = noTracing } = delivery;
  if (!tracing.isExporting) return (await handleUntilSettled(delivery)).settlement;
  const { traceparent } = readExtensions(message.body);
  const span = startProcessSpan(tracing, transport, { queue: consumer.queue, message, traceparent });
  const { settlement, attempts, error } = await handleUntilSettled({ ...delivery, span });
  const errorType = settlement === 'dead_lettered' ? safeWord(String(describeError(error).type)) : undefined;
  endProcessSpan(span, { settlement, attempts, errorType });
  return settlement;
}

async function handleUntilSettled(delivery: SpannedDelivery): Promise<Outcome> {
  const { message, consumer, retry, signal } = delivery;
  let failures = 0;
  let attempts = 0;
  while (!signal.aborted) {
    attempts += 1;
    try {
      const settlement = (await consumer.handle(message)) ?? 'applied';
      logSettled(delivery, settlement, attempts);
      return { settlement, attempts };
    } catch (error) {
      // A handler that stops because the session has ended says nothing about the message.
      if (signal.aborted && !isUnprocessable(error)) break;
      const transient = isTransient(retry, error);
      if (!transient) failures += 1;
      const log = logOf(delivery);
      if (isUnprocessable(error) || failures >= retry.attempts) {
        log.error({ err: error, attempts }, 'dead-lettering the message');
        const settlement = await deadLetterUntilStored(delivery, log, reasonOf(error), attempts);
        return { settlement, attempts, error };
      }
      // At level `warn` a long outage would write one line per message and attempt.
      log[attempts === 1 ? 'warn' : 'debug'](
        { err: error, attempts, transient },
        'handling the message failed, retrying',
      );
      await sleep(backOffMs(attempts, retry), signal);
    }
  }
  logOf(delivery).info('handling the message was interrupted');
  return { settlement: 'interrupted', attempts };
}

/** At level `info` a line for every event would be too much, but one that was retried gets its last line. */
function logSettled(delivery: SpannedDelivery, settlement: 'applied' | 'ignored', attempts: number): void {
  const level = attempts > 1 ? 'info' : 'debug';
  if (!delivery.log.isLevelEnabled(level)) return; // do not parse the body for nothing
  const text = settlement === 'ignored' ? 'ignored the message' : 'applied the message';
  logOf(delivery)[level]({ attempts }, attempts > 1 ? `${text} after retries` : text);
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
        log.warn({ reason, attempts }, 'stored the dead letter');
        return 'dead_lettered';
      }
    } catch (error) {
      log.warn({ err: error }, 'storing the dead letter failed, retrying');
    }
    await sleep(backOffMs(attempt, retry), signal);
    if (signal.aborted) {
      log.info('dead-lettering the message was interrupted');
      return 'interrupted';
    }
  }
}

function logOf({ log, consumer, message, span }: SpannedDelivery): Logger {
  return deliveryLog(log, consumer, message, span);
}

/** The logger for all lines about one message. Of the body, only the ids of the request and of its trace are ever logged. */
export function deliveryLog(
  log: Logger,
  { queue }: Consumer,
  { id, routingKey, body }: IncomingMessage,
  span?: Span,
): Logger {
  const { requestId, traceparent } = readExtensions(body);
  const traceId = parseTraceparent(traceparent)?.traceId;
  return log.child({
    queue,
    message_id: id,
    routing_key: routingKey,
    ...(requestId !== undefined && { request_id: requestId }),
    ...(span ? loggedTrace(span.spanContext()) : traceId !== undefined && { trace_id: traceId }),
  });
}

/** Extension attributes of a CloudEvent, also of one that breaks its contract. `traceparent` is not checked yet. */
function readExtensions(body: string): { requestId?: string; traceparent?: unknown } {
  try {
    const { requestid, traceparent } = Object(JSON.parse(body)) as { requestid?: unknown; traceparent?: unknown };
    const isValid = typeof requestid === 'string' && validRequestId.test(requestid);
    return { traceparent, ...(isValid && { requestId: requestid }) };
  } catch {
    return {};
  }
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

/**
 * Class, code and broken rules of the error and its causes, such as `Unprocessable <- ZodError data.status
 * invalid_value`. Never a message, because that may quote the content of the delivery.
 */
function reasonOf(error: unknown): string {
  const parts: string[] = [];
  let current: unknown = describeError(error);
  for (let depth = 0; current !== undefined && depth < 3; depth += 1) {
    const { type, code, constraint, issues, cause } = current as Record<string, unknown>;
    const words = [type, code, constraint].filter((word) => typeof word === 'string' || typeof word === 'number');
    const rules = Array.isArray(issues) ? [issues.join(', ')] : []; // describeError has made them safe and short
    parts.push([...words.map(safeWord), ...rules].join(' '));
    current = cause;
  }
  return parts.join(' <- ');
}

function safeWord(word: string | number): string {
  return String(word)
    .replaceAll(/[^\w.:-]/g, '')
    .slice(0, 100);
}
