// The promise: the check of revocations finds a gateway that accepts a revoked key, and a check without keys is a breach.
import { describe, expect, test } from '@jest/globals';
import { checkRevocations, mayDisturbKeys } from '../key-revocations.ts';

const revokedAt = 100_000;

function revocation(...uses: [afterMs: number, status: number][]) {
  const all = uses.map(([afterMs, status]) => ({ gateway: 1, startedAt: revokedAt + afterMs, status }));
  return { id: 'k1', revokedAt, acceptedBy: 2, uses: all };
}
const refused = revocation([2_100, 401], [2_300, 503], [2_500, 0]);
const duringTheWatch = { startedAt: revokedAt - 500, recoverFrom: revokedAt + 4_000 };

describe('the check of revocations', () => {
  test('is content with 401, 503 and no answer', () => {
    expect(checkRevocations([refused], []).breaches).toEqual([]);
  });

  test('finds a key that is accepted later than 2 s', () => {
    const { breaches } = checkRevocations([refused, revocation([2_100, 200])], []);
    expect(breaches).toEqual(['key k1 at gateway 1 2100 ms later']);
  });

  test('lets a gateway without its database go on for KEYS_STALE_SECONDS, and no longer', () => {
    const late = revocation([4_000, 200], [7_100, 200]);
    expect(checkRevocations([refused, late], [duringTheWatch]).breaches).toEqual(['key k1 at gateway 1 7100 ms later']);
    const before = { startedAt: 0, recoverFrom: revokedAt - 5_000 };
    expect(checkRevocations([refused, late], [before]).breaches).toHaveLength(2);
  });

  test('is broken when no key was accepted, revoked and refused', () => {
    expect(checkRevocations([], []).breaches).toHaveLength(1);
    expect(checkRevocations([{ ...refused, acceptedBy: 1 }], []).breaches).toHaveLength(1);
  });

  test.each([
    [{ fault: 'kill', target: 'gateway-1' }, true],
    [{ fault: 'cut-postgres', target: 'gateway-*→postgres' }, true],
    [{ fault: 'stall-postgres', target: '*→postgres' }, true],
    [{ fault: 'postgres-kill', target: 'postgres' }, true],
    [{ fault: 'cut-http', target: 'gateway→users' }, false],
    [{ fault: 'cut-postgres', target: 'users-*→postgres' }, false],
    [{ fault: 'kill', target: 'users-1' }, false],
  ])('knows whether %j keeps a gateway from its keys', (injection, expected) => {
    expect(mayDisturbKeys({ holdMs: 0, ...injection })).toBe(expected);
  });
});
