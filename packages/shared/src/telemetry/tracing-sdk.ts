// OpenTelemetry's SDK: samples spans and sends them to a collector, in batches, as OTLP in JSON. The promise: a collector
// that is away, or does not answer, costs neither memory without a bound nor time of a request, and one line of the log.
import { randomUUID } from 'node:crypto';
import { type ExportResult, ExportResultCode } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { defaultResource, resourceFromAttributes } from '@opentelemetry/resources';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  type ReadableSpan,
  type Sampler,
  type SpanExporter,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import { settleWithin } from '../backoff.ts';
import { summarizeError } from './describe-error.ts';
import type { Logger } from './logger.ts';
import type { TracedService, Tracing, TracingConfig } from './tracing.ts';

/** Spans that wait for an export. Later ones are dropped. */
const maxWaitingSpans = 2_048;
/** A batch of the relay links each of its events. */
const maxLinks = 1_000;
/** For one export with its repetitions. */
const exportTimeoutMs = 5_000;
const maxFlushMs = 1_000;

type SdkConfig = TracingConfig & { OTEL_EXPORTER_OTLP_ENDPOINT: string };

export function startSdk(config: SdkConfig, service: TracedService): Tracing {
  const provider = new TracerProvider({
    resource: resourceOf(config, service),
    sampler: samplerOf(config),
    spanLimits: { linkCountLimit: maxLinks },
    spanProcessors: [
      new BatchSpanProcessor({
        exporter: new ReportingExporter(openExporter(config), service.log),
        maxQueueSize: maxWaitingSpans,
        scheduledDelayMillis: config.OTEL_BSP_SCHEDULE_DELAY,
        exportTimeoutMillis: exportTimeoutMs * 2, // the exporter's own time limit ends first
      }),
    ],
  });
  return {
    tracer: provider.getTracer('promopulse', service.version),
    isExporting: true,
    flushMs: Math.min(maxFlushMs, service.shutdownTimeoutMs / 4),
    close: async (timeoutMs) => {
      await settleWithin(
        timeoutMs,
        provider.shutdown().catch(() => undefined), // logged by ReportingExporter
      );
    },
  };
}

function openExporter(config: SdkConfig): SpanExporter {
  return new OTLPTraceExporter({
    url: `${config.OTEL_EXPORTER_OTLP_ENDPOINT.replace(/\/+$/, '')}/v1/traces`,
    headers: config.OTEL_EXPORTER_OTLP_HEADERS,
    timeoutMillis: exportTimeoutMs,
  });
}

function resourceOf({ OTEL_SERVICE_NAME }: TracingConfig, { name, version }: TracedService) {
  return defaultResource().merge(
    resourceFromAttributes({
      'service.name': OTEL_SERVICE_NAME ?? `promopulse-${name}`,
      'service.version': version,
      'service.instance.id': randomUUID(),
    }),
  );
}

function samplerOf({ OTEL_TRACES_SAMPLER: name, OTEL_TRACES_SAMPLER_ARG: ratio }: TracingConfig): Sampler {
  const root = name.endsWith('traceidratio')
    ? new TraceIdRatioBasedSampler(ratio)
    : name.endsWith('always_off')
      ? new AlwaysOffSampler()
      : new AlwaysOnSampler();
  return name.startsWith('parentbased_') ? new ParentBasedSampler({ root }) : root;
}

/**
 * Says in the log when exports begin to fail, and when they work again. States: exporting, then failing from the first
 * failed export until the next that succeeds.
 */
class ReportingExporter implements SpanExporter {
  readonly #exporter: SpanExporter;
  readonly #log: Logger;
  #lost = 0;

  constructor(exporter: SpanExporter, log: Logger) {
    this.#exporter = exporter;
    this.#log = log;
  }

  export(spans: ReadableSpan[], onResult: (result: ExportResult) => void): void {
    this.#exporter.export(spans, (result) => {
      this.#report(result, spans.length);
      onResult(result);
    });
  }

  shutdown(): Promise<void> {
    return this.#exporter.shutdown();
  }

  #report({ code, error }: ExportResult, spans: number): void {
    if (code === ExportResultCode.SUCCESS) {
      if (this.#lost > 0) this.#log.info({ lost_spans: this.#lost }, 'traces are exported again');
      this.#lost = 0;
      return;
    }
    if (this.#lost === 0) this.#log.warn(summarizeError(error), 'traces cannot be exported');
    this.#lost += spans;
  }
}
