// Warnings that requests cause: one line per cause and interval, with their number.
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { createLogger } from '../../src/telemetry/logger.ts';
import { RepeatedLog } from '../../src/telemetry/repeated-log.ts';

beforeEach(() => {
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
});

function createLog() {
  const lines: string[] = [];
  const log = createLogger({ service: 'test', level: 'info', destination: { write: (line) => void lines.push(line) } });
  const read = () => lines.splice(0).map((line) => JSON.parse(line));
  return { repeated: new RepeatedLog(log, 'refused', 1_000), read };
}

test('the first is logged at once, and a flood after it is one line an interval with its number', () => {
  const { repeated, read } = createLog();
  for (let count = 0; count < 500; count += 1) repeated.add('away', { request_id: `r${count}` });
  expect(read()).toEqual([expect.objectContaining({ level: 'warn', msg: 'refused', request_id: 'r0' })]);
  jest.advanceTimersByTime(1_000);
  expect(read()).toEqual([expect.objectContaining({ msg: 'refused', request_id: 'r499', repeated: 499 })]);
  repeated.add('away', { request_id: 'later' });
  expect(read()).toEqual([]);
  jest.advanceTimersByTime(1_000);
  expect(read()).toEqual([expect.objectContaining({ request_id: 'later', repeated: 1 })]);
});

test('after an interval without any, the next is logged at once again', () => {
  const { repeated, read } = createLog();
  repeated.add('away', {});
  jest.advanceTimersByTime(2_000);
  expect(read()).toHaveLength(1);
  repeated.add('away', { request_id: 'again' });
  expect(read()).toEqual([expect.not.objectContaining({ repeated: expect.anything() })]);
});

test('each cause is counted by itself, and beyond a hundred causes they are counted together', () => {
  const { repeated, read } = createLog();
  for (let cause = 0; cause < 1_000; cause += 1) repeated.add(`cause ${cause}`, { cause });
  expect(read()).toHaveLength(101);
  jest.advanceTimersByTime(1_000);
  expect(read()).toEqual([expect.objectContaining({ repeated: 899 })]);
});
