// The spans of messages, by the semantic conventions of OpenTelemetry (messaging spans, of the status Development). The
// context in which an event was recorded goes with it in its body, as `traceparent`, because the body is what a dead
// letter keeps.
import { type Attributes, type Link, type Span, SpanKind, SpanStatusCode } from '@opentelemetry/api';
import { heartbeatName } from '../contracts/heartbeat.ts';
import { parentOf, parseTraceparent } from '../telemetry/trace-context.ts';
import type { Tracing } from '../telemetry/tracing.ts';
import type { IncomingMessage, OutgoingMessage, PublishOutcome } from './broker.ts';

/** How a transport is called in a span. */
export interface TransportName {
  /** `messaging.system`. */
  system: string;
  exchange: string;
}

const uuid = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i;

/**
 * Publishes a batch in a span, when one of its messages has a trace. The span links the context of each message. A batch
 * of one is a part of its trace.
 */
export async function sendInSpan(
  tracing: Tracing,
  { system, exchange }: TransportName,
  messages: readonly OutgoingMessage[],
  send: () => Promise<PublishOutcome[]>,
): Promise<PublishOutcome[]> {
  const links = tracing.isExporting ? messages.flatMap(({ traceparent }) => linksTo(traceparent)) : [];
  if (links.length === 0) return send();
  const only = messages.length === 1 ? messages[0] : undefined;
  const attributes: Attributes = {
    'messaging.system': system,
    'messaging.operation.name': 'send',
    'messaging.operation.type': 'send',
    'messaging.destination.name': only ? `${exchange}:${only.routingKey}` : exchange,
    ...(only ? ofMessage(only) : { 'messaging.batch.message_count': messages.length }),
  };
  const options = { kind: SpanKind.CLIENT, attributes, links };
  const span = tracing.tracer.startSpan(`send ${exchange}`, options, parentOf(only && links[0]?.context));
  const outcomes = await send();
  const failure = outcomes.find((outcome) => outcome !== 'confirmed');
  if (failure) span.setAttribute('error.type', failure).setStatus({ code: SpanStatusCode.ERROR });
  span.end();
  return outcomes;
}

/**
 * Starts the span of a delivery, with all its attempts. It is a part of the trace of the message, and links its context. A
 * copy, such as a replayed dead letter, begins a trace of its own with that link: it may come days later.
 * @param traceparent of the body; only of a well-formed one there is a context
 * @returns undefined for a heartbeat, and when no spans are recorded
 */
export function startProcessSpan(
  tracing: Tracing,
  { system, exchange }: TransportName,
  { queue, message, traceparent }: { queue: string; message: IncomingMessage; traceparent: unknown },
): Span | undefined {
  if (!tracing.isExporting || message.routingKey === heartbeatName) return undefined;
  const links = linksTo(traceparent);
  const attributes: Attributes = {
    'messaging.system': system,
    'messaging.operation.name': 'process',
    'messaging.operation.type': 'process',
    'messaging.destination.name': `${exchange}:${message.routingKey}:${queue}`,
    ...ofMessage(message),
  };
  const parent = message.isCopy ? undefined : links[0]?.context;
  const options = { kind: SpanKind.CONSUMER, attributes, links };
  return tracing.tracer.startSpan(`process ${queue}`, options, parentOf(parent));
}

/** @param errorType the class of the error of a dead letter, never its message */
export function endProcessSpan(
  span: Span | undefined,
  { settlement, attempts, errorType }: { settlement: string; attempts: number; errorType?: string | undefined },
): void {
  if (!span) return;
  span.setAttributes({ 'promopulse.settlement': settlement, 'promopulse.attempts': attempts });
  if (errorType !== undefined) span.setAttribute('error.type', errorType).setStatus({ code: SpanStatusCode.ERROR });
  span.end();
}

function linksTo(traceparent: unknown): Link[] {
  const context = parseTraceparent(traceparent);
  return context ? [{ context }] : [];
}

/** A message of another program may have any id. */
function ofMessage({ id, routingKey }: { id: string; routingKey: string }): Attributes {
  return {
    'messaging.rabbitmq.destination.routing_key': routingKey,
    ...(uuid.test(id) && { 'messaging.message.id': id }),
  };
}
