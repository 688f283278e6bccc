// The size of a page, and what costly pages do to other requests.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { Wire } from '@promopulse/testing/client';
import { fullScale } from '@promopulse/testing/scale';
import { startTestService, type TestService } from '@promopulse/testing/service';
import { promotions } from '../src/service.ts';

const maxBytes = 1_048_576;

let service: TestService;
beforeAll(async () => {
  service = await startTestService(promotions, {
    APPLIED_REPLY_TIMEOUT_MS: '0',
  });
});
afterAll(() => service?.close());
beforeEach(() => service.sql('truncate promotions.promotions restart identity'));

/** Adds drafts with this name and description, behind the triggers, and corrects the counts. */
async function make(count: number, description: string | null, name = 'P'): Promise<void> {
  await service.sql('set session_replication_role = replica');
  await service.sql(
    `insert into promotions.promotions (name, description, start_at, end_at)
     select $3, $2, now(), now() + interval '1 day' from generate_series(1, $1::int)`,
    [count, description, name],
  );
  await service.sql('set session_replication_role = origin');
  await service.sql('select promotions.recount_promotions()');
  await service.sql('vacuum analyze promotions.promotions');
}

async function page(query: string): Promise<{ body: Wire; bytes: number }> {
  const answer = await fetch(`${service.url}/promotions?${query}`);
  const text = await answer.text();
  expect([answer.status, text.slice(0, 300)]).toEqual([200, expect.any(String)]);
  return { body: JSON.parse(text), bytes: Buffer.byteLength(text) };
}

describe('a page has at most 1 MiB', () => {
  test.each([
    ['4,000 emoji', '😀'.repeat(4_000), 'P'],
    ['control characters, which JSON escapes', '\u0001'.repeat(4_000), '"'.repeat(255)],
    ['4,000 letters', 'é'.repeat(4_000), 'P'],
  ])('of promotions with %s, and a walk gives each of them once', async (_what, description, name) => {
    await make(300, description, name);
    for (const query of ['limit=1000', 'limit=101&status=draft', 'limit=100', '', 'limit=40']) {
      const ids: number[] = [];
      let cursor: string | null = null;
      do {
        const { body, bytes }: { body: Wire; bytes: number } = await page(cursor ? `${query}&cursor=${cursor}` : query);
        expect(bytes).toBeLessThanOrEqual(maxBytes);
        if (body.next_cursor) expect(body.items.length).toBeGreaterThanOrEqual(40);
        expect(body.total).toBe(300);
        ids.push(...body.items.map(({ id }: Wire) => id));
        cursor = body.next_cursor;
      } while (cursor);
      expect(ids).toEqual(Array.from({ length: 300 }, (_, index) => 300 - index));
    }
  });

  test('by offset too, and its cursor leads to the rest', async () => {
    await make(1_200, '😀'.repeat(4_000));
    for (const offset of [0, 1_001]) {
      const { body, bytes } = await page(`limit=1000&offset=${offset}`);
      expect(bytes).toBeLessThanOrEqual(maxBytes);
      const ids = body.items.map(({ id }: Wire) => id);
      expect(ids).toEqual(ids.map((_: unknown, index: number) => 1_200 - offset - index));
      const next = await page(`limit=1&cursor=${body.next_cursor}`);
      expect(next.body.items[0].id).toBe(ids.at(-1) - 1);
    }
    expect((await page('limit=1000&offset=1199')).body).toMatchObject({ items: [{ id: 1 }], next_cursor: null });
    expect((await page('limit=1000&offset=5000')).body).toMatchObject({ items: [], total: 1_200, next_cursor: null });
  });

  test('and of ordinary promotions it has as many as were asked for', async () => {
    await make(1_000, 'Get 20% off everything in the shop '.repeat(5));
    const { body } = await page('limit=1000');
    expect([body.items.length, body.next_cursor]).toEqual([1_000, null]);
    expect((await page('limit=999')).body.next_cursor).toEqual(expect.any(String));
  });
});

describe('30 clients that ask for the end of a long list', () => {
  const rows = fullScale ? 1_000_000 : 300_000;

  test('get 200 or 503, and a page at the beginning takes at most twice its time', async () => {
    await make(rows, null);
    const timeOf = async (): Promise<number> => {
      const start = performance.now();
      expect((await service.api.get('/promotions?limit=20')).status).toBe(200);
      return performance.now() - start;
    };
    const median = async (): Promise<number> => {
      const times: number[] = [];
      for (let count = 0; count < 41; count += 1) {
        times.push(await timeOf());
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return times.sort((a, b) => a - b)[20] as number;
    };
    await median();
    const alone = await median();
    let asking = true;
    const statuses = new Map<number, number>();
    const askers = Array.from({ length: 30 }, async () => {
      while (asking) {
        const { status } = await service.api.get(`/promotions?limit=20&offset=${rows - 1_000}`);
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      }
    });
    await new Promise((resolve) => setTimeout(resolve, 500));
    const meanwhile = await median();
    asking = false;
    await Promise.all(askers);
    process.stderr.write(
      `a page of 20: ${alone.toFixed(1)} ms alone, ${meanwhile.toFixed(1)} ms with 30 clients at the end of ` +
        `${rows} rows, which got ${JSON.stringify([...statuses])}\n`,
    );
    expect(meanwhile).toBeLessThan(Math.max(2 * alone, 10));
    expect([...statuses.keys()].filter((status) => ![200, 503].includes(status))).toEqual([]);
    expect(statuses.get(200)).toBeGreaterThan(0);
  }, 120_000);
});
