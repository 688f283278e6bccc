// The promise: the check of retries finds a write that took effect twice, and the other checks see one attempt.
import { describe, expect, test } from '@jest/globals';
import type { RecordedEvent } from '../database-state.ts';
import type { Attempt } from '../history.ts';
import { checkRetries, mergeRetries } from '../retries.ts';

function attempt(second: number, changes: Partial<Attempt> = {}): Attempt {
  return {
    ...{ requestId: `r${second}`, kind: 'create promotion', method: 'POST', path: '/promotions', body: {} },
    ...{ startedAt: second * 1_000, endedAt: second * 1_000 + 100, status: 201, id: 1, total: undefined },
    ...{ errorText: undefined, code: undefined, projection: null, key: 'k1', isReplayed: false, retryAfter: null },
    noResponseReason: undefined,
    ...changes,
  };
}

function eventOf(requestId: string): RecordedEvent {
  return {
    ...{ service: 'promotions', name: 'promotion.created', subject: '1', data: { id: 1, version: 1 } },
    ...{ request_id: requestId, created_at: new Date(0), published: true },
  };
}

const unanswered = attempt(1, { status: 0, id: undefined });
const replayed = attempt(2, { isReplayed: true });

describe('a write that is sent again with its key', () => {
  test('is one attempt from the first request to the last answer, under the id of the request that took effect', () => {
    const other = attempt(3, { key: undefined });
    const merged = mergeRetries([unanswered, replayed, other], [eventOf('r1')]);
    expect(merged).toEqual([{ ...replayed, requestId: 'r1', startedAt: 1_000 }, other]);
  });

  test('has an unknown outcome while no attempt is answered, also after "in progress"', () => {
    const early = attempt(2, { status: 409, id: undefined, code: 'idempotency_in_progress' });
    expect(mergeRetries([unanswered, early], [])).toEqual([{ ...unanswered, endedAt: 2_100 }]);
  });

  test('keeps the promise with one event and a replayed answer', () => {
    const check = checkRetries([unanswered, replayed, attempt(3, { key: 'k2' })], [eventOf('r1'), eventOf('r3')]);
    expect(check.breaches).toEqual([]);
    expect(check.examined).toBe('1 writes sent again, 1 answers replayed');
  });

  test.each([
    ['two events', [unanswered, attempt(2)], [eventOf('r1'), eventOf('r2')], '2 events'],
    ['answers about two rows', [attempt(1), attempt(2, { id: 2, isReplayed: true })], [eventOf('r1')], 'two effects'],
    ['two answers as new', [attempt(1), attempt(2)], [eventOf('r1')], 'answered twice as new'],
  ])('breaks the promise with %s', (_, history, events, defect) => {
    expect(checkRetries(history, events).breaches).toEqual([expect.stringMatching(`^${defect}: r1 `)]);
  });
});
