// One trace from the client's request to the consumer of its event, through the whole stack, on both transports.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Client, client } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { type OtlpReceiver, type ReceivedSpan, startOtlpReceiver } from '@promopulse/testing/otlp-receiver';
import { type RunningStack, startFreshStack } from './support/stack.ts';

const traceOf = (digit: string) => digit.repeat(32);
const traceparentOf = (digit: string) => `00-${traceOf(digit)}-${digit.repeat(16)}-01`;
const promotion = { name: 'Summer Sale', start_at: '2026-06-01T00:00:00Z', end_at: '2026-06-30T23:59:59Z' };

describe.each(['rabbit', 'memory'] as const)('with the transport %s', (transport) => {
  let receiver: OtlpReceiver;
  let stack: RunningStack;
  let api: Client;

  beforeAll(async () => {
    receiver = await startOtlpReceiver();
    stack = await startFreshStack(transport, {
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      OTEL_BSP_SCHEDULE_DELAY: '50',
      TRACE_TRUST_INCOMING: 'true',
    });
    api = client(stack.url);
  }, 60_000);
  afterAll(async () => {
    await stack?.close();
    await receiver?.close();
  });

  /** Waits for the one span of a trace of which `wanted` is true: each process exports by itself. */
  const spanOf = async (digit: string, wanted: (span: ReceivedSpan) => boolean): Promise<ReceivedSpan> =>
    eventually(() => {
      const all = receiver.spans.filter(({ traceId }) => traceId === traceOf(digit));
      const [found, ...others] = all.filter(wanted);
      if (!found || others.length > 0) throw new Error(JSON.stringify(all.map(({ service, name }) => [service, name])));
      return found;
    });
  const find = (digit: string, service: string, kind: string, name: string): Promise<ReceivedSpan> =>
    spanOf(digit, (span) => span.service === service && span.kind === kind && span.name === name);
  const consumerIn = (digit: string, service: string): Promise<ReceivedSpan> =>
    spanOf(digit, (span) => span.kind === 'CONSUMER' && span.service === `promopulse-${service}`);

  test('a request, its forwarding, its event and the consumer of the event are one trace', async () => {
    expect((await api.post('/promotions', promotion, { traceparent: traceparentOf('a') })).status).toBe(201);
    const edge = await find('a', 'promopulse-gateway', 'SERVER', 'POST /promotions');
    const forwarded = await find('a', 'promopulse-gateway', 'CLIENT', 'POST /promotions');
    const served = await find('a', 'promopulse-promotions', 'SERVER', 'POST /promotions');
    const sent = await spanOf('a', ({ name }) => name.startsWith('send '));

    expect(edge.parentSpanId).toBe('a'.repeat(16));
    expect(forwarded.parentSpanId).toBe(edge.spanId);
    expect(served.parentSpanId).toBe(forwarded.spanId);
    expect(sent).toMatchObject({ service: 'promopulse-promotions', kind: 'CLIENT', parentSpanId: served.spanId });
    const exchange = `${stack.prefix.repeat(transport === 'rabbit' ? 1 : 0)}promopulse.events`;
    expect(sent.name).toBe(`send ${exchange}`);
    for (const service of ['subscriptions', 'engagement']) {
      const queue = `${service}.projections`;
      expect(await consumerIn('a', service)).toMatchObject({
        name: `process ${queue}`,
        parentSpanId: served.spanId,
        links: [{ traceId: traceOf('a'), spanId: served.spanId }],
        attributes: {
          'messaging.system': transport === 'rabbit' ? 'rabbitmq' : 'promopulse.in_memory',
          'messaging.operation.name': 'process',
          'messaging.operation.type': 'process',
          'messaging.destination.name': `${exchange}:promotion.created:${queue}`,
          'messaging.rabbitmq.destination.routing_key': 'promotion.created',
          'messaging.message.id': sent.attributes['messaging.message.id'],
          'promopulse.settlement': 'applied',
          'promopulse.attempts': 1,
        },
      });
    }
    expect(edge.attributes).toEqual({
      'http.request.method': 'POST',
      'http.route': '/promotions',
      'url.scheme': 'http',
      'http.response.status_code': 201,
    });
  });

  test('the question to an owner is a part of the trace of the subscription', async () => {
    const headers = { traceparent: traceparentOf('b') };
    expect((await api.post('/subscriptions', { user_id: 1_999_999, promotion_id: 1 }, headers)).status).toBe(404);
    const subscription = await find('b', 'promopulse-subscriptions', 'SERVER', 'POST /subscriptions');
    const asked = await find('b', 'promopulse-users', 'SERVER', 'GET /internal/users/{id}');
    expect(asked.parentSpanId).toBe(subscription.spanId);
  });

  test('a repetition by Idempotency-Key is a trace of its own, and the event keeps that of the change', async () => {
    const key = { 'idempotency-key': '"traced-once"' };
    const send = (digit: string) => api.post('/promotions', promotion, { ...key, traceparent: traceparentOf(digit) });
    const [first, again] = [await send('c'), await send('d')];
    expect([first.status, again.status, again.headers.get('idempotent-replayed')]).toEqual([201, 201, 'true']);
    for (const service of ['subscriptions', 'engagement']) await consumerIn('c', service);
    await find('d', 'promopulse-promotions', 'SERVER', 'POST /promotions');
    const rows = await stack.sql('select trace_parent from promotions.outbox where subject = $1', [
      String(first.body.id),
    ]);
    expect(rows.map(({ trace_parent }) => trace_parent.slice(3, 35))).toEqual([traceOf('c')]);
  });

  test('lines of the log have the trace, the span, the route and the caller', async () => {
    await api.get('/promotions/1', { traceparent: traceparentOf('e'), 'x-request-id': 'logged-trace' });
    const lines = await eventually(async () => {
      const parsed = stack
        .logs()
        .split('\n')
        .filter((line) => line.includes('"logged-trace"'))
        .map((line) => JSON.parse(line));
      if (parsed.length < 2) throw new Error('not both processes have logged the request');
      return parsed;
    });
    for (const { service, trace_id, span_id, route } of lines) {
      expect({ trace_id, route }).toEqual({ trace_id: traceOf('e'), route: '/promotions/{id}' });
      const span = await find('e', `promopulse-${service}`, 'SERVER', 'GET /promotions/{id}');
      expect(span.spanId).toBe(span_id);
    }
  });
});
