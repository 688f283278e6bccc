import { expect, test } from '@jest/globals';
import { LossDetector } from '@promopulse/shared/projections/events/loss-detector';

const event = (number: number, lead = 'a', session = 's') => ({ session, lead, number, isHeartbeat: false });
const heartbeat = (number: number, lead = 'a', session = 's') => ({
  ...event(number, lead, session),
  isHeartbeat: true,
});
const receiveAll = (...messages: ReturnType<typeof event>[]) => {
  const detector = new LossDetector();
  return messages.map((message) => detector.receive('users', message));
};

test('the first message of a session may have lost those before it', () => {
  expect(receiveAll(event(7), event(8), event(9, 'a', 't'), event(10, 'a', 't'))).toEqual([
    'session',
    undefined,
    'session',
    undefined,
  ]);
});

test('a missing number is a gap, once', () => {
  expect(receiveAll(event(1), event(2), event(4), event(5))).toEqual(['session', undefined, 'gap', undefined]);
});

test('a heartbeat tells that the last event is missing', () => {
  expect(receiveAll(heartbeat(0), event(1), heartbeat(1), heartbeat(2), heartbeat(2))).toEqual([
    'session',
    undefined,
    undefined,
    'gap',
    undefined,
  ]);
});

test('a number that comes again is no gap', () => {
  expect(receiveAll(event(1), event(2), event(1), event(2), event(3), heartbeat(2))).toEqual([
    'session',
    ...Array(5).fill(undefined),
  ]);
});

test('another lead may have lost what the lead before it published', () => {
  expect(receiveAll(event(5), event(1, 'b'), event(2, 'b'))).toEqual(['session', 'lead', undefined]);
});

test('owners are counted apart', () => {
  const detector = new LossDetector();
  expect(detector.receive('users', event(1))).toBe('session');
  expect(detector.receive('promotions', event(9))).toBe('session');
  expect(detector.receive('users', event(2))).toBeUndefined();
});
