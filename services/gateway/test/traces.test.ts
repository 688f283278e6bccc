// What the gateway does with the trace context of a client, and which one its services get.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';
import { type OtlpReceiver, type ReceivedSpan, startOtlpReceiver } from '@promopulse/testing/otlp-receiver';
import { answerOk, answerWith, closedPort, neverAnswer, startTestGateway, type TestGateway } from './stubs.ts';
import { sendRaw } from './wire.ts';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const spanId = '00f067aa0ba902b7';
const valid = `00-${traceId}-${spanId}-01`;
const unsampled = `00-${traceId}-${spanId}-00`;
const form = /^00-([0-9a-f]{32})-([0-9a-f]{16})-0[01]$/;

let receiver: OtlpReceiver;
beforeAll(async () => {
  receiver = await startOtlpReceiver();
});
afterAll(() => receiver.close());
beforeEach(() => {
  receiver.spans.length = 0;
});

const exporting = (): Record<string, string> => ({
  OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
  OTEL_BSP_SCHEDULE_DELAY: '20',
});

const lines = (...values: string[]): string => values.map((value) => `traceparent: ${value}\r\n`).join('');

/** Sends a request with these header lines. @returns the trace context that the service got */
async function forward(gateway: TestGateway, headerLines: string) {
  gateway.users.received.length = 0;
  const more = 'tracestate: vendor=1\r\nbaggage: user=ada%40example.com\r\n';
  await sendRaw(gateway.port, [
    `GET /users/1?email=ada@example.com HTTP/1.1\r\nHost: gateway\r\n${headerLines}${more}\r\n`,
  ]);
  const { headers, rawHeaders } = gateway.users.received[0] as NonNullable<(typeof gateway.users.received)[0]>;
  expect(rawHeaders.filter((each) => each.toLowerCase() === 'traceparent').length).toBeLessThanOrEqual(1);
  expect(headers.baggage).toBeUndefined();
  return { traceparent: headers.traceparent as string | undefined, tracestate: headers.tracestate };
}

const serverSpan = (): Promise<ReceivedSpan> =>
  eventually(() => {
    const found = receiver.spans.find(({ kind }) => kind === 'SERVER');
    if (!found) throw new Error('no SERVER span yet');
    return found;
  });

const clients: [string, string, boolean][] = [
  ['no traceparent', '', false],
  ['a valid one', lines(valid), true],
  ['an unsampled one', lines(unsampled), true],
  ['a malformed one', lines('00-ada@example.com'), false],
  ['two', lines(valid, valid), false],
  ['one with all zeros', lines(`00-${'0'.repeat(32)}-${spanId}-01`), false],
];

describe('a gateway that does not trust its clients', () => {
  let gateway: TestGateway;
  beforeAll(async () => {
    gateway = await startTestGateway(exporting());
  });
  afterAll(() => gateway.close());

  test.each(clients)('begins a sampled trace for a client that sends %s', async (_what, sent, isValid) => {
    const { traceparent, tracestate } = await forward(gateway, sent);
    expect(traceparent).toMatch(form);
    expect(traceparent).not.toContain(traceId);
    expect(tracestate).toBeUndefined();
    const span = await serverSpan();
    expect(span.parentSpanId).toBeUndefined();
    expect(span.links).toEqual(isValid ? [{ traceId, spanId }] : []);
    expect(traceparent).toContain(span.traceId);
    expect(span.attributes['http.route']).toBe('/users/{id}');
  });
});

describe('a gateway that trusts its clients', () => {
  let gateway: TestGateway;
  beforeAll(async () => {
    gateway = await startTestGateway({ ...exporting(), TRACE_TRUST_INCOMING: 'true' });
  });
  afterAll(() => gateway.close());

  test('continues the trace of a valid traceparent, with its tracestate', async () => {
    const { traceparent, tracestate } = await forward(gateway, lines(valid));
    expect(traceparent).toMatch(form);
    expect(traceparent).toContain(`00-${traceId}-`);
    expect(traceparent).not.toBe(valid);
    expect(tracestate).toBe('vendor=1');
    expect(await serverSpan()).toMatchObject({ traceId, parentSpanId: spanId, links: [] });
  });

  test('records nothing of an unsampled trace, and hands it on', async () => {
    const { traceparent } = await forward(gateway, lines(unsampled));
    expect(traceparent).toMatch(new RegExp(`^00-${traceId}-[0-9a-f]{16}-00$`));
    await forward(gateway, ''); // exported after it
    await serverSpan();
    expect(receiver.spans.filter((span) => span.traceId === traceId)).toEqual([]);
  });

  test.each(clients.filter(([, , isValid]) => !isValid))(
    'begins a trace for a client that sends %s',
    async (_what, sent) => {
      const { traceparent, tracestate } = await forward(gateway, sent);
      expect(traceparent).toMatch(form);
      expect(traceparent).not.toContain(traceId);
      expect(tracestate).toBeUndefined();
      expect((await serverSpan()).links).toEqual([]);
    },
  );
});

describe('a gateway without a collector', () => {
  test.each([
    ['hands on the context of a client that it trusts', 'true', lines(valid), valid],
    ['hands on nothing malformed', 'true', lines(valid, valid), undefined],
    ['hands on nothing of a stranger', 'false', lines(valid), undefined],
    ['makes no context of its own', 'true', '', undefined],
  ])('%s', async (_what, trusts, sent, onward) => {
    const gateway = await startTestGateway({ TRACE_TRUST_INCOMING: trusts });
    try {
      const { traceparent } = await forward(gateway, sent);
      expect(traceparent).toBe(onward);
      const [line = '{}'] = gateway.logLines.filter((each) => each.includes('"msg":"request"'));
      expect(JSON.parse(line).trace_id).toBe(onward && traceId);
    } finally {
      await gateway.close();
    }
  });
});

describe('the spans of the gateway', () => {
  let gateway: TestGateway;
  beforeAll(async () => {
    const port = await closedPort();
    gateway = await startTestGateway({
      ...exporting(),
      UPSTREAM_TIMEOUT_MS: '300',
      PROMOTIONS_URL: `http://127.0.0.1:${port}`,
    });
  });
  afterAll(() => gateway.close());

  const spans = (count: number): Promise<ReceivedSpan[]> =>
    eventually(() => {
      expect(receiver.spans).toHaveLength(count);
      return receiver.spans;
    });
  const byKind = (all: readonly ReceivedSpan[], kind: string) => all.find((span) => span.kind === kind);

  test.each([
    ['an error of the caller', 404, false, true],
    ['an error of the service', 500, true, true],
    ['a success', 200, false, false],
  ])('%s is an error of the right side', async (_what, status, isServerError, isClientError) => {
    gateway.users.handler = status === 200 ? answerOk : answerWith(status);
    await fetch(`${gateway.url}/users/1`);
    const all = await spans(2);
    expect(byKind(all, 'SERVER')).toMatchObject({ isError: isServerError, name: 'GET /users/{id}' });
    expect(byKind(all, 'CLIENT')).toMatchObject({
      isError: isClientError,
      name: 'GET /users/{id}',
      attributes: { 'http.response.status_code': status, 'server.address': '127.0.0.1' },
    });
  });

  test.each([
    ['a service that does not answer', '/users/1', 504, 'upstream_timeout'],
    ['a service that cannot be reached', '/promotions/1', 503, 'upstream_unavailable'],
  ])('%s ends its span with the code of the answer', async (_what, path, status, code) => {
    gateway.users.handler = neverAnswer;
    expect((await fetch(`${gateway.url}${path}`)).status).toBe(status);
    const all = await spans(2);
    expect(byKind(all, 'CLIENT')).toMatchObject({ isError: true, attributes: { 'error.type': code } });
    expect(byKind(all, 'SERVER')).toMatchObject({ attributes: { 'http.response.status_code': status } });
  });

  test('a client that hangs up ends both spans', async () => {
    const patient = await startTestGateway({ ...exporting(), UPSTREAM_TIMEOUT_MS: '60000' });
    patient.users.handler = neverAnswer;
    const controller = new AbortController();
    const request = fetch(`${patient.url}/users/1`, { signal: controller.signal });
    await eventually(() => expect(patient.users.received).toHaveLength(1));
    controller.abort();
    await expect(request).rejects.toThrow('aborted');
    for (const span of await spans(2)) expect(span.attributes['error.type']).toBe('aborted');
    await patient.close();
  });

  test('health checks have none', async () => {
    gateway.users.handler = answerOk;
    await fetch(`${gateway.url}/health/live`);
    await fetch(`${gateway.url}/users/1`);
    await spans(2);
  });

  test('what a gateway has left is exported when it stops', async () => {
    const stopping = await startTestGateway({ ...exporting(), OTEL_BSP_SCHEDULE_DELAY: '60000' });
    await fetch(`${stopping.url}/users/1`);
    await stopping.close();
    expect(receiver.spans).toHaveLength(2);
  });

  test('a collector that never answers holds up neither requests nor the stop', async () => {
    const silent = await startOtlpReceiver();
    silent.fallSilent();
    const held = await startTestGateway({ ...exporting(), OTEL_EXPORTER_OTLP_ENDPOINT: silent.url });
    for (let round = 0; round < 20; round += 1) expect((await fetch(`${held.url}/users/1`)).status).toBe(200);
    await held.close();
    await silent.close();
  });
});
