import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';
import { type HealthMonitor, startHealthMonitor } from '../../src/telemetry/health-monitor.ts';
import { createLogger } from '../../src/telemetry/logger.ts';

let monitor: HealthMonitor | undefined;
afterEach(() => monitor?.stop());

const lines: Record<string, unknown>[] = [];
const log = createLogger({
  service: 'test',
  level: 'info',
  destination: { write: (line: string) => void lines.push(JSON.parse(line)) },
});

/** A broker that is connected, with a count that the test decides. */
function observe(countDeadLetters: () => Promise<number | null>, oldest_seconds = 0): HealthMonitor {
  const broker = { isConnected: () => true, problem: () => undefined, countDeadLetters };
  monitor = startHealthMonitor({ log, broker, backlog: async () => ({ waiting: 1, oldest_seconds }) });
  return monitor;
}

test('a broker that does not answer, or fails, makes the count null after half a second, and the report ok', async () => {
  for (const count of [() => new Promise<number>(() => undefined), () => Promise.reject(new Error('no'))]) {
    const started = performance.now();
    expect(await observe(count).report()).toMatchObject({ status: 'ok', degraded: [], dead_letters: null });
    expect(performance.now() - started).toBeLessThan(900);
    monitor?.stop();
  }
});

test('the broker is asked once in a second, however often the report is made', async () => {
  let asked = 0;
  const busy = observe(async () => {
    asked += 1;
    return asked;
  });
  for (let n = 0; n < 50; n += 1) expect(await busy.report()).toMatchObject({ dead_letters: 1 });
  await sleep(1_050);
  expect(await busy.report()).toMatchObject({ degraded: ['2 dead letters'] });
  expect(asked).toBe(2);
});

test.each([
  [30, 'ok', []],
  [31, 'degraded', ['oldest event not published for 31 s']],
])('an event that has waited for %i s: %s', async (seconds, status, degraded) => {
  expect(await observe(async () => 0, seconds).report()).toMatchObject({ status, degraded });
});

test('dead letters are logged without a call of /health, and once', async () => {
  lines.length = 0;
  observe(async () => 3);
  await sleep(2_500);
  expect(lines).toMatchObject([{ level: 'warn', dead_letters: 3, msg: 'dead letters wait for an operator' }]);
});

test('ids that are nearly used up are in the report, and are logged once for each percent', async () => {
  lines.length = 0;
  let percent = 81;
  const broker = { isConnected: () => true, problem: () => undefined, countDeadLetters: async () => 0 };
  const backlog = async () => ({ waiting: 0, oldest_seconds: 0 });
  const usedIds = async () => [{ table: 'users', percent }];
  monitor = startHealthMonitor({ log, broker, backlog, usedIds });
  await eventually(async () => {
    expect(await monitor?.report()).toMatchObject({
      status: 'degraded',
      degraded: ['81 % of the ids of users are used'],
    });
  });
  percent = 82;
  await eventually(
    async () => {
      expect(await monitor?.report()).toMatchObject({ degraded: ['82 % of the ids of users are used'] });
    },
    { timeoutMs: 15_000 },
  );
  const logged = { level: 'warn', table: 'users', msg: 'the ids of a table are nearly used up' };
  expect(lines).toMatchObject([
    { ...logged, percent: 81 },
    { ...logged, percent: 82 },
  ]);
}, 20_000);

test('ids that cannot be read change nothing in the report', async () => {
  const broker = { isConnected: () => true, problem: () => undefined, countDeadLetters: async () => 0 };
  const backlog = async () => ({ waiting: 0, oldest_seconds: 0 });
  monitor = startHealthMonitor({ log, broker, backlog, usedIds: () => Promise.reject(new Error('away')) });
  await sleep(1_200);
  expect(await monitor.report()).toMatchObject({ status: 'ok', degraded: [] });
});
