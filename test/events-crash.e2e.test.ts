// The engagement service, or an owner that it asks, fails at each crash point while a batch is counted. Then the client
// sends the same batch until it has receipts: each event is counted once, and the sums agree. The batch has items that are
// not accepted, so at `committed` the service fails between the statement that accepts and the one that counts the others.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { ServiceName } from '@promopulse/shared/contracts/services';
import { client } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { fullScale } from '@promopulse/testing/scale';
import type { CrashPoint, Failure } from '../tools/chaos/crash-points.ts';
import { type CrashStack, startCrashStack } from './support/crash-stack.ts';

let stack: CrashStack;
let count = 0;
beforeAll(async () => {
  stack = await startCrashStack();
}, 120_000);
afterAll(() => stack?.close(), 60_000);

const yearMs = 31_536_000_000;

async function createUser(): Promise<number> {
  count += 1;
  const body = { first_name: 'Ada', last_name: 'Crash', email: `events.${count}@example.com` };
  return (await client(stack.url).post('/users', body)).body.id;
}

async function createActivePromotion(): Promise<number> {
  const [start_at, end_at] = [-yearMs, yearMs].map((ms) => new Date(Date.now() + ms).toISOString());
  const { id } = (await client(stack.url).post('/promotions', { name: 'Counted', start_at, end_at })).body;
  await client(stack.url).post(`/promotions/${id}/status`, { status: 'active' });
  return id;
}

interface Case {
  point: CrashPoint;
  service: ServiceName;
  failure: Failure;
  /** Which row the engagement service does not know, so that it asks the owner. */
  unknown?: 'users' | 'promotions';
}

const failures: readonly Failure[] = fullScale ? ['die', 'throw'] : ['die'];
const points: readonly Omit<Case, 'failure'>[] = [
  ...(['request-read', 'before-write', 'commit-sent', 'committed', 'before-response'] as const).map((point) => ({
    point,
    service: 'engagement' as const,
  })),
  { point: 'owner-answering', service: 'users', unknown: 'users' },
  { point: 'owner-answering', service: 'promotions', unknown: 'promotions' },
  { point: 'owner-answered', service: 'engagement', unknown: 'users' },
  { point: 'owner-answered', service: 'engagement', unknown: 'promotions' },
];
const cases: readonly Case[] = points.flatMap((each) => failures.map((failure) => ({ ...each, failure })));

async function send(events: readonly object[], requestId: string): Promise<{ status: number; statuses: string[] }> {
  const response = await fetch(`${stack.url}/events`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-request-id': requestId },
    body: JSON.stringify(events),
  });
  const body = (await response.json()) as { receipts?: { status: string }[] };
  return { status: response.status, statuses: (body.receipts ?? []).map(({ status }) => status) };
}

/** Sends the batch until each event has a receipt other than "retry". */
async function deliver(events: readonly object[]): Promise<string[]> {
  for (const deadline = Date.now() + 20_000; Date.now() < deadline; await sleep(100)) {
    count += 1;
    const { status, statuses } = await send(events, `again-${count}`);
    if (status === 200 && !statuses.includes('retry')) return statuses;
  }
  throw new Error('no receipts in time');
}

test.each(cases)(
  'at $point $service fails ($failure): every event is counted once',
  async ({ point, service, failure, unknown }) => {
    const [user_id, promotion_id] = [await createUser(), await createActivePromotion()];
    const { url } = stack;
    const occurred_at = new Date().toISOString();
    const event = (index: number, time = occurred_at) => ({
      ...{ id: `${promotion_id}-${index}`, type: 'view', promotion_id, occurred_at: time },
      ...(index % 2 === 0 ? { user_id } : { visitor: `v-${index}` }),
    });
    const countable = Array.from({ length: 10 }, (_, index) => event(index));
    const [tomorrow, longAgo] = [1, -300].map((days) => new Date(Date.now() + days * 86_400_000).toISOString());
    const events = [...countable, event(10, tomorrow), event(11, longAgo)];
    // Known, and no event on its way, so that the point is reached as it should be.
    await deliver([{ ...event(0), id: `${promotion_id}-first` }]);
    await stack.waitForQuiet();
    if (unknown === 'users') await stack.sql('delete from engagement.known_users where user_id = $1', [user_id]);
    if (unknown === 'promotions')
      await stack.sql('delete from engagement.cached_promotions where promotion_id = $1', [promotion_id]);
    count += 1;
    const requestId = `events-crash-${count}`;
    const reached = await stack.arm(service, { point, failure, requests: [requestId] });
    const answer = send(events, requestId).catch(() => ({ status: 0, statuses: [] as string[] }));
    if (failure === 'die') {
      expect(await stack.exitOf(service)).toBe('SIGKILL');
      await stack.restart(service);
    }
    const first = await answer;
    await eventually(() => expect(reached).toContain(requestId));
    // An owner that is back in time answers the second question.
    const mayBeBack = failure === 'die' && service !== 'engagement';
    if (first.status === 200 && !mayBeBack) expect(first.statuses).toContain('retry');
    else if (first.status === 200)
      expect(['accepted', 'rejected', 'late', 'retry']).toEqual(expect.arrayContaining(first.statuses));
    else expect([500, 503]).toContain(first.status);
    const statuses = await deliver(events);
    expect(['accepted', 'duplicate']).toEqual(expect.arrayContaining(statuses.slice(0, 10)));
    expect(statuses.slice(10)).toEqual(['rejected', 'late']);
    expect(await deliver(events)).toEqual([...countable.map(() => 'duplicate'), 'rejected', 'late']);
    const { body } = await client(url).get(`/statistics/reconciliation?promotion_id=${promotion_id}`);
    expect(body).toMatchObject({ accepted: 11, counters: 11, rows: 11, is_balanced: true });
    const { totals } = (await client(url).get(`/statistics?promotion_id=${promotion_id}&type=view`)).body;
    expect(totals).toMatchObject({ raw: 11, unique: 6 });
  },
  120_000,
);
