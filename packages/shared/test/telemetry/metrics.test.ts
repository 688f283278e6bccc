// A scrape: what it shows of a figure that is not known, and that it is bounded and shared.
import { expect, test } from '@jest/globals';
import { createMetrics } from '../../src/telemetry/metrics.ts';
import { measureRequests } from '../../src/telemetry/request-durations.ts';

const linesOf = (text: string, name: string): string[] =>
  text.split('\n').filter((line) => line === name || line.startsWith(`${name} `) || line.startsWith(`${name}{`));

test('a gauge and a counter show what they are at the moment of the scrape', async () => {
  const metrics = await createMetrics();
  let events = 1;
  metrics.gauge({ name: 'waiting_events', help: 'Events.' }, () => events);
  metrics.counter({ name: 'calls_total', help: 'Calls.' }, () => [
    [{ owner: 'users' }, events * 2],
    [{ owner: 'say "no"\n' }, 3],
  ]);
  const text = await metrics.collect();
  expect(text).toContain('# HELP waiting_events Events.\n# TYPE waiting_events gauge\nwaiting_events 1\n');
  expect(linesOf(text, 'calls_total')).toEqual([
    'calls_total{owner="users"} 2',
    'calls_total{owner="say \\"no\\"\\n"} 3',
  ]);
  events = 5;
  expect(linesOf(await metrics.collect(), 'waiting_events')).toEqual(['waiting_events 5']);
});

test('a figure that is not known has no line, and not 0', async () => {
  const metrics = await createMetrics();
  metrics.gauge({ name: 'unknown_seconds', help: 'Not known.' }, () => undefined);
  const text = await metrics.collect();
  expect(text).toContain('# TYPE unknown_seconds gauge');
  expect(linesOf(text, 'unknown_seconds')).toEqual([]);
});

test('scrapes at the same time cost one collection, and a later one costs another', async () => {
  const metrics = await createMetrics();
  let asked = 0;
  const answer = metrics.source('database', async () => {
    asked += 1;
    return asked;
  });
  metrics.gauge({ name: 'asked_questions', help: 'Questions.' }, answer);
  const texts = await Promise.all(Array.from({ length: 20 }, () => metrics.collect()));
  expect([asked, new Set(texts).size]).toEqual([1, 1]);
  expect(linesOf(await metrics.collect(), 'asked_questions')).toEqual(['asked_questions 2']);
});

test('a source that fails or hangs has no line, is not asked twice, and its late answer is for no scrape', async () => {
  const metrics = await createMetrics();
  const hanging = Promise.withResolvers<number>();
  let asked = 0;
  const late = metrics.source('hanging', () => {
    asked += 1;
    return asked === 1 ? hanging.promise : Promise.resolve(8);
  });
  const failed = metrics.source('failing', () => Promise.reject(new Error('away')));
  metrics.gauge({ name: 'late_events', help: 'Late.' }, late);
  metrics.gauge({ name: 'failed_events', help: 'Failed.' }, failed);
  const sources = (text: string) => linesOf(text, 'promopulse_metrics_source_up');
  const away = ['hanging', 'failing'].map((source) => `promopulse_metrics_source_up{source="${source}"} 0`);
  for (let scrape = 1; scrape <= 2; scrape += 1) {
    const text = await metrics.collect();
    expect([linesOf(text, 'late_events'), linesOf(text, 'failed_events'), sources(text)]).toEqual([[], [], away]);
  }
  expect(asked).toBe(1);
  hanging.resolve(7);
  await new Promise(setImmediate);
  const text = await metrics.collect();
  expect(linesOf(text, 'late_events')).toEqual(['late_events 8']);
  expect(sources(text)[0]).toBe('promopulse_metrics_source_up{source="hanging"} 1');
});

test('two services of one process share the metrics of the process', async () => {
  const [one, other] = [await createMetrics(), await createMetrics()];
  one.gauge({ name: 'one_events', help: 'One.' }, () => 1);
  const [text, otherText] = [await one.collect(), await other.collect()];
  for (const each of [text, otherText]) {
    for (const name of [
      'process_cpu_seconds_total',
      'nodejs_eventloop_utilization_ratio',
      'v8js_gc_duration_seconds',
    ]) {
      expect(each).toContain(`# TYPE ${name} `);
    }
  }
  expect(otherText).not.toContain('one_events');
});

test('requests are counted by known method, route and status; a client that has gone has no status', async () => {
  const metrics = await createMetrics();
  const onEnd = measureRequests(metrics, ({ url }) => String(url));
  const end = (method: string, url: string, statusCode: number, headersSent = true): void =>
    onEnd({ method, url } as never, { statusCode, headersSent } as never, performance.now());
  end('GET', '/users', 200);
  end('GET', '/users', 200);
  end('PROPFIND', '', 404);
  end('POST', '/users', 200, false);
  end('POST', '/users', 408, false);
  const counts = linesOf(await metrics.collect(), 'http_server_request_duration_seconds_count');
  const label = (method: string, route: string, status: string): string =>
    `{http_request_method="${method}",http_route="${route}",http_response_status_code="${status}"}`;
  expect(counts).toEqual(
    [
      `${label('GET', '/users', '200')} 2`,
      `${label('_OTHER', '', '404')} 1`,
      `${label('POST', '/users', '')} 1`,
      `${label('POST', '/users', '408')} 1`,
    ].map((rest) => `http_server_request_duration_seconds_count${rest}`),
  );
});
