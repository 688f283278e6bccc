// The spans of messages on both transports: batches, retries, dead letters and their replay.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { SpanKind, SpanStatusCode } from '@opentelemetry/api';
import { InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { type Consumer, Unprocessable } from '../../src/messaging/broker.ts';
import { noTracing, type Tracing } from '../../src/telemetry/tracing.ts';
import {
  collectingLog,
  connected,
  memoryTransport,
  message,
  queue,
  rabbitTransport,
  type Transport,
  until,
  waitForDeadLetters,
} from './transports.ts';

const traceOf = (digit: string) => digit.repeat(32);
const recorded = (digit: string) => {
  const traceparent = `00-${traceOf(digit)}-${digit.repeat(16)}-01`;
  return message({ traceparent, body: JSON.stringify({ traceparent, requestid: `request-${digit}` }) });
};

describe.each([
  { name: 'RabbitMQ', create: async (): Promise<Transport> => rabbitTransport() },
  { name: 'in memory', create: memoryTransport },
])('$name', ({ create }) => {
  let transport: Transport;
  let exporter: InMemorySpanExporter;
  let tracing: Tracing;
  beforeEach(async () => {
    transport = await create();
    exporter = new InMemorySpanExporter();
    const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] });
    tracing = { ...noTracing, tracer: provider.getTracer('test'), isExporting: true };
  });
  afterEach(() => transport.end());

  const spansOf = (kind: SpanKind): ReadableSpan[] => exporter.getFinishedSpans().filter((span) => span.kind === kind);
  const consumer = (handle: Consumer['handle']): Consumer => ({
    queue,
    bindings: ['promotion.*', 'relay.heartbeat'],
    handle,
  });
  const linksOf = ({ links }: ReadableSpan): string[] => links.map(({ context }) => context.traceId);

  async function start(handle: Consumer['handle']) {
    const { log, lines } = collectingLog('debug');
    const broker = transport.connect({ tracing, log });
    broker.consume(consumer(handle));
    await connected(broker);
    return { broker, lines };
  }

  test('a batch is one span that links the trace of each message, and each message is processed in its own trace', async () => {
    const { broker } = await start(async () => undefined);
    const batch = [recorded('a'), recorded('b'), message()];
    await until(() => broker.isConnected(), 'connected');
    expect(await broker.publish(batch)).toEqual(['confirmed', 'confirmed', 'confirmed']);
    await until(() => spansOf(SpanKind.CONSUMER).length === 3, 'processed');
    const [sent, ...others] = spansOf(SpanKind.CLIENT);
    expect(others).toEqual([]);
    expect(sent?.attributes['messaging.batch.message_count']).toBe(3);
    expect(sent?.parentSpanContext).toBeUndefined();
    expect(linksOf(sent as ReadableSpan)).toEqual([traceOf('a'), traceOf('b')]);
    const processed = spansOf(SpanKind.CONSUMER);
    for (const digit of ['a', 'b']) {
      const span = processed.find((each) => each.spanContext().traceId === traceOf(digit));
      expect(span?.parentSpanContext?.spanId).toBe(digit.repeat(16));
      expect(linksOf(span as ReadableSpan)).toEqual([traceOf(digit)]);
    }
    expect(processed.filter((span) => span.links.length === 0)).toHaveLength(1);
  });

  test('no span is made of heartbeats, and none of a batch without a trace', async () => {
    const handled: string[] = [];
    const { broker } = await start(async ({ routingKey }) => void handled.push(routingKey));
    await broker.publish([message({ routingKey: 'relay.heartbeat', mandatory: false })]);
    await broker.publish([message()]);
    await until(() => spansOf(SpanKind.CONSUMER).length > 0, 'processed');
    expect(handled).toEqual(['relay.heartbeat', 'promotion.created']);
    expect(exporter.getFinishedSpans().map(({ name }) => name)).toEqual([`process ${queue}`]);
  });

  test('a span has all attempts of a delivery, and its lines in the log have its ids', async () => {
    let attempts = 0;
    const { broker, lines } = await start(async () => {
      attempts += 1;
      if (attempts < 3) throw new Error('marked.7f3a9c@example.com');
    });
    await broker.publish([recorded('a')]);
    await until(() => spansOf(SpanKind.CONSUMER).length > 0, 'processed');
    const [span] = spansOf(SpanKind.CONSUMER) as [ReadableSpan];
    expect(span.attributes).toMatchObject({ 'promopulse.attempts': 3, 'promopulse.settlement': 'applied' });
    expect(span.status.code).toBe(SpanStatusCode.UNSET);
    const about = lines().filter(({ request_id }) => request_id === 'request-a');
    expect(about.length).toBeGreaterThanOrEqual(3);
    for (const { trace_id, span_id } of about) {
      expect({ trace_id, span_id }).toEqual({ trace_id: traceOf('a'), span_id: span.spanContext().spanId });
    }
  });

  test('a replayed dead letter begins a trace with a link to that of its change', async () => {
    let isBroken = true;
    const { broker } = await start(async () => {
      if (isBroken) throw new Unprocessable('marked.7f3a9c@example.com');
    });
    await broker.publish([recorded('a')]);
    const deadLetters = await transport.openDeadLetters();
    await waitForDeadLetters(deadLetters, 1);
    await until(() => spansOf(SpanKind.CONSUMER).length === 1, 'dead-lettered');
    const [failed] = spansOf(SpanKind.CONSUMER) as [ReadableSpan];
    expect(failed.status).toEqual({ code: SpanStatusCode.ERROR });
    expect(failed.attributes).toMatchObject({
      'error.type': 'Unprocessable',
      'promopulse.settlement': 'dead_lettered',
    });

    isBroken = false;
    await deadLetters.replay();
    await deadLetters.close();
    await until(() => spansOf(SpanKind.CONSUMER).length === 2, 'replayed');
    const replayed = spansOf(SpanKind.CONSUMER)[1] as ReadableSpan;
    expect(replayed.parentSpanContext).toBeUndefined();
    expect(replayed.spanContext().traceId).not.toBe(traceOf('a'));
    expect(linksOf(replayed)).toEqual([traceOf('a')]);
    expect(
      JSON.stringify(exporter.getFinishedSpans().map(({ attributes, events, status }) => [attributes, events, status])),
    ).not.toContain('marked');
  });

  test('a message of another program with a malformed body and any id has a span without these', async () => {
    const { broker } = await start(async () => undefined);
    for (const body of ['', 'null', '{"traceparent":"00-x"}', '{"traceparent":["a"]}']) {
      await broker.publish([message({ id: `ada@example.com ${body.length}`, body, traceparent: 'malformed' })]);
    }
    await until(() => spansOf(SpanKind.CONSUMER).length === 4, 'processed');
    for (const span of spansOf(SpanKind.CONSUMER)) {
      expect(span.links).toEqual([]);
      expect(span.attributes['messaging.message.id']).toBeUndefined();
    }
    expect(spansOf(SpanKind.CLIENT)).toEqual([]);
  });
});
