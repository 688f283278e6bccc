// How traces leave a process: by which settings, to a collector that works, is away, or never answers.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';
import { type OtlpReceiver, startOtlpReceiver } from '@promopulse/testing/otlp-receiver';
import { z } from 'zod';
import { loadConfig } from '../../src/config.ts';
import { createLogger } from '../../src/telemetry/logger.ts';
import { openTracing, type Tracing, tracingConfig } from '../../src/telemetry/tracing.ts';

const load = (env: Record<string, string>) => loadConfig(z.object(tracingConfig), env);

let receiver: OtlpReceiver;
let tracing: Tracing | undefined;
let lines: string[];
beforeEach(async () => {
  receiver = await startOtlpReceiver();
  lines = [];
});
afterEach(async () => {
  await tracing?.close(1_000);
  tracing = undefined;
  await receiver.close();
});

async function open(env: Record<string, string> = {}): Promise<Tracing> {
  const log = createLogger({ service: 'test', level: 'info', destination: { write: (line) => void lines.push(line) } });
  const config = load({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, OTEL_BSP_SCHEDULE_DELAY: '20', ...env });
  tracing = await openTracing(config, { name: 'test', version: '1.2.3', log, shutdownTimeoutMs: 2_000 });
  return tracing;
}

const logged = (): string[] => lines.map((line) => JSON.parse(line).msg);
const makeSpans = ({ tracer }: Tracing, count: number): void => {
  for (let index = 0; index < count; index += 1) tracer.startSpan(`span ${index}`, { root: true }).end();
};

describe('the settings', () => {
  test('without a collector, no span is recorded', async () => {
    const off = await open({ OTEL_EXPORTER_OTLP_ENDPOINT: '' });
    expect(off.isExporting).toBe(false);
    expect(off.tracer.startSpan('nothing').isRecording()).toBe(false);
  });

  test.each([
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'grpc://collector:4317' }, 'OTEL_EXPORTER_OTLP_ENDPOINT is not valid'],
    [{ OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' }, 'OTEL_EXPORTER_OTLP_PROTOCOL is not valid'],
    [{ OTEL_TRACES_SAMPLER: 'jaeger_remote' }, 'OTEL_TRACES_SAMPLER is not valid'],
    [{ OTEL_TRACES_SAMPLER_ARG: '1.5' }, 'OTEL_TRACES_SAMPLER_ARG is not valid'],
    [{ OTEL_EXPORTER_OTLP_HEADERS: 'api-key' }, 'OTEL_EXPORTER_OTLP_HEADERS is not valid: must be name=value'],
    [{ OTEL_EXPORTER_OTLP_HEADERS: 'api-key=%E0%A4%A' }, 'OTEL_EXPORTER_OTLP_HEADERS is not valid: must be name=value'],
    [{ OTEL_EXPORTER_OTLP_HEADERS: 'a=b%0d%0aC: d' }, 'OTEL_EXPORTER_OTLP_HEADERS is not valid: must be name=value'],
  ])('%j stops the start', (env, says) => {
    expect(() => load(env)).toThrow(says);
  });

  test('the message about wrong headers has no value', () => {
    expect(() => load({ OTEL_EXPORTER_OTLP_HEADERS: 'a=s3cret,b' })).toThrow(/^(?!.*s3cret)/s);
  });

  test('headers, the path of a collector and the name of the service are used', async () => {
    const named = await open({
      OTEL_EXPORTER_OTLP_ENDPOINT: `${receiver.url}/`,
      OTEL_EXPORTER_OTLP_HEADERS: 'api-key=a%20key , x-tenant=7',
      OTEL_SERVICE_NAME: 'shop',
    });
    makeSpans(named, 1);
    await eventually(() => expect(receiver.spans).toHaveLength(1));
    expect(receiver.spans[0]?.service).toBe('shop');
    expect(JSON.parse(receiver.text().split('\n')[0] ?? '')).toMatchObject({ 'api-key': 'a key', 'x-tenant': '7' });
    expect(receiver.text()).toContain('"1.2.3"');
  });

  test.each([
    ['always_off', '1', 0],
    ['traceidratio', '0', 0],
    ['parentbased_traceidratio', '1', 20],
    ['parentbased_always_off', '1', 0],
    ['always_on', '0', 20],
  ])('%s with %s keeps %s of 20 traces', async (sampler, argument, kept) => {
    const sampled = await open({ OTEL_TRACES_SAMPLER: sampler, OTEL_TRACES_SAMPLER_ARG: argument });
    makeSpans(sampled, 20);
    await sampled.close(5_000);
    expect(receiver.spans).toHaveLength(kept);
  });
});

describe('a collector', () => {
  test('gets what is left when the process stops, whatever the time between two exports', async () => {
    const slow = await open({ OTEL_BSP_SCHEDULE_DELAY: '60000' });
    makeSpans(slow, 700); // more than one batch
    await slow.close(10_000);
    expect(receiver.spans).toHaveLength(700);
  });

  test('that is away costs one line of the log, and one when it is back', async () => {
    const port = Number(new URL(receiver.url).port);
    await receiver.close();
    const away = await open();
    for (let round = 0; round < 3; round += 1) {
      makeSpans(away, 600);
      await eventually(() => expect(logged()).toEqual(['traces cannot be exported']), { timeoutMs: 20_000 });
    }
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ level: 'warn', code: 'ECONNREFUSED' });
    receiver = await startOtlpReceiver(port);
    await eventually(
      () => {
        makeSpans(away, 1);
        expect(logged()).toEqual(['traces cannot be exported', 'traces are exported again']);
      },
      { timeoutMs: 20_000 },
    );
  }, 60_000);

  test('that never answers holds no more spans than fit, and holds up no stop', async () => {
    receiver.fallSilent();
    const stuck = await open();
    makeSpans(stuck, 1);
    await eventually(() => expect(receiver.requests()).toBe(1));
    makeSpans(stuck, 20_000);
    await stuck.close(100); // without an answer
    receiver.answer();
    // What had been queued is sent by the stop: not more than the queue holds.
    expect(receiver.spans.length).toBeLessThanOrEqual(2_049);
    expect(receiver.requests()).toBeLessThanOrEqual(1 + 4);
  });
});
