// Traces by OpenTelemetry. The spans are made by hand on its API: the instrumentations of others write query strings and
// SQL with personal data. The SDK is loaded only when there is a collector to send the spans to.
import { ProxyTracerProvider, type Tracer } from '@opentelemetry/api';
import { z } from 'zod';
import type { Logger } from './logger.ts';

export const samplers = [
  'always_on',
  'always_off',
  'traceidratio',
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
] as const;

/** Of the names of the OpenTelemetry specification, those that are supported. No other is read. */
export const tracingConfig = {
  /** The base URL of a collector: the spans go to `/v1/traces` below it. Without it there are no spans. */
  OTEL_EXPORTER_OTLP_ENDPOINT: z.url({ protocol: /^https?$/, error: 'must be an http:// or https:// URL' }).optional(),
  /** `name=value`, separated by commas, percent-encoded: for example the key of a hosted collector. */
  OTEL_EXPORTER_OTLP_HEADERS: z.string().default('').transform(parseHeaders),
  OTEL_EXPORTER_OTLP_PROTOCOL: z.enum(['http/json']).default('http/json'),
  /** By default `promopulse-` and the name of the service. */
  OTEL_SERVICE_NAME: z.string().max(255).optional(),
  OTEL_TRACES_SAMPLER: z.enum(samplers).default('parentbased_always_on'),
  /** The share of the traces that a sampler with `traceidratio` keeps. */
  OTEL_TRACES_SAMPLER_ARG: z.coerce.number().min(0).max(1).default(1),
  /** Milliseconds between two exports. */
  OTEL_BSP_SCHEDULE_DELAY: z.coerce.number().int().min(10).max(60_000).default(5_000),
};

export type TracingConfig = z.infer<z.ZodObject<typeof tracingConfig>>;

export interface Tracing {
  tracer: Tracer;
  /** Whether spans are recorded. Otherwise a span only hands on the context of its parent. */
  isExporting: boolean;
  /** The part of the time for a shutdown that the last export needs, in milliseconds. */
  flushMs: number;
  /** Exports the spans that are left, for at most `timeoutMs` milliseconds. Never rejects. */
  close(timeoutMs: number): Promise<void>;
}

/** Records nothing. */
export const noTracing: Tracing = {
  tracer: new ProxyTracerProvider().getTracer('promopulse'),
  isExporting: false,
  flushMs: 0,
  close: async () => undefined,
};

/** Of the process that is traced. One process may run several services, so nothing of this is global. */
export interface TracedService {
  /** Such as `users` or `gateway`. */
  name: string;
  version: string;
  log: Logger;
  /** How long the process may take to stop, in milliseconds. */
  shutdownTimeoutMs: number;
}

export async function openTracing(config: TracingConfig, service: TracedService): Promise<Tracing> {
  const { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint } = config;
  if (endpoint === undefined) return noTracing;
  const { startSdk } = await import('./tracing-sdk.ts');
  return startSdk({ ...config, OTEL_EXPORTER_OTLP_ENDPOINT: endpoint }, service);
}

function parseHeaders(text: string, context: z.RefinementCtx): Record<string, string> {
  const entries = text.split(',').filter((entry) => entry.trim() !== '');
  const headers = entries.map((entry) => /^\s*([\w!#$%&'*+.^`|~-]+)\s*=\s*(.*?)\s*$/.exec(entry));
  try {
    const pairs = headers.map((match) => [match?.[1] ?? '', decodeURIComponent(match?.[2] ?? '')] as const);
    if (pairs.every(([name, value]) => name !== '' && /^[\x20-\x7e]*$/.test(value))) return Object.fromEntries(pairs);
  } catch {
    // A value that is not percent-encoded UTF-8.
  }
  context.addIssue('must be name=value, separated by commas, with percent-encoded values'); // never the value
  return {};
}
