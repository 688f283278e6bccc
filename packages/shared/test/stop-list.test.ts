import { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, expect, test } from '@jest/globals';
import { StopList } from '../src/stop-list.ts';
import { createLogger } from '../src/telemetry/logger.ts';

let messages: string[];
let stopped: string[];
beforeEach(() => {
  messages = [];
  stopped = [];
});

function createStops(timeoutMs: number): StopList {
  const destination = new Writable({
    write: (chunk, _encoding, done) => {
      messages.push(JSON.parse(String(chunk)).msg);
      done();
    },
  });
  return new StopList(createLogger({ service: 'test', level: 'info', destination }), timeoutMs);
}

test('parts are stopped in the reverse order, one after the other, and only once', async () => {
  const stops = createStops(1_000);
  for (const part of ['database', 'broker', 'server']) {
    stops.add(async () => {
      await sleep(5);
      stopped.push(part);
    });
  }
  expect(stops.begun).toBe(false);
  const running = stops.run();
  expect(stops.begun).toBe(true);
  await running;
  expect(stopped).toEqual(['server', 'broker', 'database']);
  await stops.run();
  expect(stopped).toHaveLength(3);
});

test('a part that fails to stop is logged, and the others are stopped', async () => {
  const stops = createStops(1_000);
  stops.add(async () => stopped.push('database'));
  stops.add(() => Promise.reject(new Error('no')));
  await stops.run();
  expect(stopped).toEqual(['database']);
  expect(messages).toEqual(['a part failed to stop', 'stopped']);
});

test('each part gets what the others have left of the time limit, and 0 after it', async () => {
  const stops = createStops(100);
  const remaining: number[] = [];
  const take = async (remainingMs: number): Promise<void> => {
    remaining.push(remainingMs);
    await sleep(120);
  };
  stops.add(take);
  stops.add(take);
  await stops.run();
  expect(remaining[0]).toBeGreaterThan(50);
  expect(remaining[0]).toBeLessThanOrEqual(100);
  expect(remaining[1]).toBe(0);
});
