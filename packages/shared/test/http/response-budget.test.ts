// Which responses have room. The responses are stubs: a test decides when a client has taken one.
import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { expect, test } from '@jest/globals';
import { ResponseBudget } from '../../src/http/response-budget.ts';

const MiB = 1_048_576;
const overloaded = expect.objectContaining({
  code: 'overloaded',
  headers: { 'Promopulse-Reached-Limit': 'response_bytes' },
});

class StubResponse extends EventEmitter {
  cut = false;
  readonly req = {
    socket: {
      destroy: () => {
        this.cut = true;
        this.emit('close');
      },
    },
  };
}

function fill(timeoutMs = 60_000) {
  const budget = new ResponseBudget({ MAX_RESPONSE_BYTES_IN_FLIGHT: 8 * MiB, RESPONSE_TIMEOUT_MS: timeoutMs });
  const add = (bytes: number): StubResponse => {
    const response = new StubResponse();
    budget.add(response as unknown as ServerResponse, bytes);
    return response;
  };
  return { budget, add, large: Array.from({ length: 6 }, () => add(MiB)) };
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test('large ones get three quarters, ordinary ones the rest, and small ones are not counted', () => {
  const { budget, add } = fill();
  expect(() => add(MiB)).toThrow(overloaded);
  expect(() => budget.checkRoomForLarge()).toThrow(overloaded);
  for (let count = 0; count < 32; count += 1) add(65_536);
  expect(() => add(65_536)).toThrow(overloaded);
  add(8_191);
});

test('the room of a client that has taken its response, or has gone, is free once', () => {
  const { add, large } = fill();
  large[0]?.emit('close');
  large[0]?.emit('close');
  add(MiB);
  expect(() => add(MiB)).toThrow(overloaded);
});

test('when the room is needed, the clients that are slow for two seconds are cut, and no more than needed', async () => {
  const { add, large } = fill();
  await pause(2_100);
  add(2 * MiB);
  expect(large.map(({ cut }) => cut)).toEqual([true, true, false, false, false, false]);
});

test('a client that has not taken its response after the time limit is cut', async () => {
  const { large } = fill(1_000);
  await pause(2_500);
  expect(large.every(({ cut }) => cut)).toBe(true);
});
