// The W3C trace context (https://www.w3.org/TR/trace-context/): how it is read and written, and the span of a request.
import type { IncomingMessage } from 'node:http';
import {
  type Context,
  createTraceState,
  isSpanContextValid,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  trace,
} from '@opentelemetry/api';

/** Version, trace id, span id and flags. A later version than 00 may have more at its end. */
const form = /^(?!ff)([0-9a-f]{2})-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/**
 * Reads the value of `traceparent`, strictly. Several header fields of that name, which Node joins with a comma, are
 * malformed as a whole.
 * @returns undefined when it is absent or malformed
 */
export function parseTraceparent(value: unknown): SpanContext | undefined {
  const [, version, traceId, spanId, flags, rest] = (typeof value === 'string' && form.exec(value)) || [];
  if (!traceId || !spanId || (version === '00' && rest !== undefined)) return undefined;
  return { traceId, spanId, traceFlags: Number.parseInt(String(flags), 16), isRemote: true };
}

/** The value of `traceparent`, 55 characters. @returns undefined when there is no trace */
export function formatTraceparent(context: SpanContext | undefined): string | undefined {
  if (!context || !isSpanContextValid(context)) return undefined;
  return `00-${context.traceId}-${context.spanId}-${context.traceFlags.toString(16).padStart(2, '0')}`;
}

/** For a span that is its child. Without a parent the span begins a trace. */
export function parentOf(parent: SpanContext | undefined): Context {
  return parent ? trace.setSpanContext(ROOT_CONTEXT, parent) : ROOT_CONTEXT;
}

/**
 * Takes the trace context out of the headers, so that only what this process writes goes on. `baggage` goes too: nothing
 * reads it, and it can hold anything.
 * @returns the context that was sent, with its `tracestate`; undefined when `traceparent` is absent or malformed
 */
export function takeTraceContext(headers: IncomingMessage['headers']): SpanContext | undefined {
  const { traceparent, tracestate, baggage } = headers;
  if (traceparent !== undefined) delete headers.traceparent;
  if (tracestate !== undefined) delete headers.tracestate;
  if (baggage !== undefined) delete headers.baggage;
  const context = parseTraceparent(traceparent);
  return context && tracestate ? { ...context, traceState: createTraceState(String(tracestate)) } : context;
}

/** Writes the one trace context that the next process gets. */
export function writeTraceContext(headers: Record<string, unknown>, context: SpanContext | undefined): void {
  const traceparent = formatTraceparent(context);
  if (traceparent === undefined) return;
  headers.traceparent = traceparent;
  const tracestate = context?.traceState?.serialize();
  if (tracestate) headers.tracestate = tracestate;
}

const property = Symbol('span');
type WithSpan = IncomingMessage & { [property]?: Span };

/** The span is kept with its request: some events of a request run outside every asynchronous context. */
export function setSpan(request: IncomingMessage, span: Span): void {
  (request as WithSpan)[property] = span;
}

export function spanContextOf(request: IncomingMessage): SpanContext | undefined {
  return (request as WithSpan)[property]?.spanContext();
}

/** The `traceparent` of what a request causes. @returns undefined when there is no trace */
export function traceparentOf(request: IncomingMessage): string | undefined {
  return formatTraceparent(spanContextOf(request));
}

/** The fields of a line of the log. Empty when there is no trace. */
export function loggedTrace(context: SpanContext | undefined): { trace_id?: string; span_id?: string } {
  return context && isSpanContextValid(context) ? { trace_id: context.traceId, span_id: context.spanId } : {};
}
