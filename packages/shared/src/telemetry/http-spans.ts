// The spans of HTTP, by the semantic conventions of OpenTelemetry (HTTP spans, stable since 1.23). They have the template
// of the route, and never a path, a query or a header field: these can hold an address, a phone number or a credential.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Attributes, type Link, type Span, type SpanContext, SpanKind, SpanStatusCode } from '@opentelemetry/api';
import { methodLabel, type RouteOf } from './request-durations.ts';
import { parentOf, setSpan, spanContextOf, takeTraceContext, writeTraceContext } from './trace-context.ts';
import type { Tracing } from './tracing.ts';

interface TracedRequests {
  tracing: Tracing;
  /** Whether the caller's `traceparent` is the parent. Otherwise the request begins a trace with a link to it. */
  trustsIncoming: boolean;
  /** Called when the response ends. */
  routeOf: RouteOf;
}

/** A step that gives each request but health checks a SERVER span, from here until its response ends. */
export function traceRequests({ tracing, trustsIncoming, routeOf }: TracedRequests) {
  return (request: IncomingMessage, response: ServerResponse, next: () => void): void => {
    const incoming = takeTraceContext(request.headers);
    const parent = trustsIncoming ? incoming : undefined;
    if ((!tracing.isExporting && !parent) || isHealthCheck(request)) {
      next();
      return;
    }
    const method = methodLabel(request.method);
    const span = tracing.tracer.startSpan(
      method,
      {
        kind: SpanKind.SERVER,
        attributes: { 'http.request.method': method, 'url.scheme': 'http' },
        links: incoming && !parent ? [linkTo(incoming)] : [],
      },
      parentOf(parent),
    );
    setSpan(request, span);
    if (tracing.isExporting) response.once('close', () => endServerSpan(span, method, routeOf(request), response));
    next();
  };
}

function endServerSpan(span: Span, method: string, route: string | undefined, response: ServerResponse): void {
  if (route !== undefined) span.updateName(`${method} ${route}`).setAttribute('http.route', route);
  if (response.headersSent) setStatus(span, response.statusCode, 500);
  else span.setAttribute('error.type', 'aborted');
  span.end();
}

interface UpstreamCall {
  tracing: Tracing;
  /** @returns the template of its path */
  routeOf(): string;
  url: string;
}

/**
 * Starts the CLIENT span of a request that is forwarded, and writes its context into the headers that are forwarded.
 * @returns how to end it, with the status of the response or else with the code of what happened
 */
export function startClientSpan(
  request: IncomingMessage,
  { tracing, routeOf, url }: UpstreamCall,
): (answer: number | string) => void {
  const parent = spanContextOf(request);
  if (!tracing.isExporting || !parent) {
    writeTraceContext(request.headers, parent);
    return () => undefined;
  }
  const { hostname, port } = new URL(url);
  const [method, route] = [methodLabel(request.method), routeOf()];
  const attributes: Attributes = {
    'http.request.method': method,
    'url.template': route,
    'server.address': hostname,
    'server.port': Number(port || 80),
  };
  const span = tracing.tracer.startSpan(`${method} ${route}`, { kind: SpanKind.CLIENT, attributes }, parentOf(parent));
  writeTraceContext(request.headers, span.spanContext());
  return (answer) => {
    if (typeof answer === 'number') setStatus(span, answer, 400);
    else span.setAttribute('error.type', answer).setStatus({ code: SpanStatusCode.ERROR });
    span.end();
  };
}

/** Without its tracestate, which a stranger has written. */
function linkTo({ traceState: _theirs, ...context }: SpanContext): Link {
  return { context };
}

/** @param errorFrom the lowest status that is an error: 500 for the server, 400 for the client */
function setStatus(span: Span, status: number, errorFrom: number): void {
  span.setAttribute('http.response.status_code', status);
  if (status < errorFrom) return;
  span.setAttribute('error.type', String(status)).setStatus({ code: SpanStatusCode.ERROR });
}

/** Probes come all the time, and say nothing. */
function isHealthCheck({ url = '' }: IncomingMessage): boolean {
  return /^\/health(?:[/?]|$)/.test(url);
}
