// What every gateway knows of the API keys. The promises: a revoked key is refused by every gateway within 2 s; while the
// database is away, known keys go on and revoked ones stay refused; nobody gets 401 because the database is away.
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals';
import type { Database } from '@promopulse/shared/database/database';
import type { Statement } from '@promopulse/shared/database/prepared';
import { withClient } from '@promopulse/shared/database/provision';
import { eventually } from '@promopulse/testing/eventually';
import { createTestDatabase, type TestDatabase } from '@promopulse/testing/servers';
import { startTcpProxy, type TcpProxy } from '@promopulse/testing/tcp-proxy';
import { createKey } from '../src/callers/key-format.ts';
import { KeyRing } from '../src/callers/key-ring.ts';
import { insertKey, type KeyFields, type KeyRow, revokeKey, rotateKey } from '../src/callers/key-store.ts';
import type { Principal } from '../src/callers/principal.ts';
import { openGatewayDatabase } from '../src/gateway-database.ts';
import { silent } from './asking-gateway.ts';

let testDatabase: TestDatabase;
let database: Database;
let proxy: TcpProxy;
const closing: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  testDatabase = await createTestDatabase(['gateway']);
  database = await openGatewayDatabase({ DATABASE_URL: testDatabase.urlFor('gateway') }, silent);
});
afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});
beforeEach(async () => {
  proxy = await startTcpProxy(testDatabase.urlFor('gateway'));
});
afterEach(async () => {
  jest.restoreAllMocks();
  for (const close of closing.splice(0).reverse()) await close();
  await proxy.close();
});

interface Delay {
  /** When the database has answered the statement, or the statement is held. */
  isReached: Promise<void>;
  release(): void;
}

interface TestRing {
  ring: KeyRing;
  /** The actor of a secret, undefined for one that is no valid key, or the code of an error. */
  actorOf(secret: string): Promise<string | undefined>;
  /** Names of the statements that the ring has sent. */
  statements: string[];
  /** Holds back the answer to the next statement, as it is, until `release` is called. */
  delayNext(): Delay;
  /** Holds back the next statement itself. */
  holdNext(): Delay;
}

/** A ring as a gateway has it, with its own connections through the proxy. */
async function startRing({ staleSeconds = 300 } = {}): Promise<TestRing> {
  const DATABASE_URL = proxy.through(testDatabase.urlFor('gateway'));
  const own = await openGatewayDatabase({ DATABASE_URL }, silent);
  const statements: string[] = [];
  const delays: { isHeld: boolean; reach(): void; released: Promise<void> }[] = [];
  const answerOf = async <Row>(send: () => Promise<Row[]>, delay: (typeof delays)[number] | undefined) => {
    if (!delay) return await send();
    const rows = delay.isHeld ? undefined : await send();
    delay.reach();
    await delay.released;
    return rows ?? (await send());
  };
  const counted: Database = {
    ...own,
    run: <Row>(statement: Statement, values: readonly unknown[]) => {
      statements.push(String(statement.name));
      return answerOf(() => own.run<Row>(statement, values), delays.shift());
    },
  };
  const ring = new KeyRing({ database: counted, log: silent, staleSeconds });
  await ring.start();
  closing.push(async () => {
    await ring.stop();
    await own.close();
  });
  const actorOf = async (secret: string): Promise<string | undefined> => {
    try {
      const found: Principal | undefined = await ring.find(secret);
      return found?.caller.actor ?? undefined;
    } catch (error) {
      return String((error as { code?: unknown }).code);
    }
  };
  const delay = (isHeld: boolean): Delay => {
    const [reached, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    delays.push({ isHeld, reach: reached.resolve, released: released.promise });
    closing.push(async () => released.resolve()); // a ring waits for its polls when it stops
    return { isReached: reached.promise, release: released.resolve };
  };
  return { ring, actorOf, statements, delayNext: () => delay(false), holdNext: () => delay(true) };
}

async function newKey(fields: Partial<KeyFields> = {}): Promise<{ id: string; secret: string; actor: string }> {
  const made = createKey();
  const all = { name: 'Shop', scopes: ['users:read'], expires_at: null, created_by: null, ...fields };
  const { id } = (await insertKey(database, all, made)) as KeyRow;
  return { id, secret: made.secret, actor: `key:${id}` };
}

/** A ring that knows a key, and a poll that has read the key and whose answer is late. */
async function startWithLatePoll() {
  const { id, secret, actor } = await newKey();
  const { ring, actorOf, delayNext } = await startRing();
  expect(await actorOf(secret)).toBe(actor);
  await rotateKey(database, id, createKey(), { overlapSeconds: 600, actor: null }); // so that polls bring the key
  const late = delayNext();
  await late.isReached;
  return { id, secret, ring, actorOf, late };
}

describe('a key', () => {
  test('that was made a moment ago is known to every gateway at once', async () => {
    const rings = await Promise.all([startRing(), startRing(), startRing()]);
    const { secret, actor } = await newKey();
    expect(await Promise.all(rings.map(({ actorOf }) => actorOf(secret)))).toEqual([actor, actor, actor]);
  });

  test('is found without a query once it is known', async () => {
    const { secret } = await newKey();
    const { ring, statements } = await startRing();
    const before = statements.length;
    for (let request = 0; request < 1_000; request += 1) expect(ring.find(secret)).not.toBeInstanceOf(Promise);
    expect(statements.length - before).toBeLessThanOrEqual(1); // a poll may fall between
  });

  test('with a wrong checksum makes no query', async () => {
    const { secret } = await newKey();
    const { ring, statements } = await startRing();
    const wrong = `${secret.slice(0, -1)}${secret.endsWith('0') ? '1' : '0'}`;
    const before = statements.length;
    for (let request = 0; request < 1_000; request += 1) expect(ring.find(wrong)).toBeUndefined();
    expect(statements.length - before).toBeLessThanOrEqual(1);
  });

  test('that does not exist costs a shared poll at most ten times a second, however many ask', async () => {
    const { actorOf, statements } = await startRing();
    const before = statements.length;
    const start = performance.now();
    const unknown = Array.from({ length: 500 }, () => actorOf(createKey().secret));
    expect(new Set(await Promise.all(unknown))).toEqual(new Set([undefined]));
    const seconds = (performance.now() - start) / 1_000;
    expect(statements.length - before).toBeLessThanOrEqual(3 + 11 * seconds);
  });

  test('that expires is refused by the clock of the database, whatever the clock of a gateway says', async () => {
    const { secret, actor } = await newKey({ expires_at: new Date(Date.now() + 8_000) });
    const { actorOf } = await startRing();
    const now = Date.now;
    jest.spyOn(Date, 'now').mockImplementation(() => now() + 86_400_000);
    expect(await actorOf(secret)).toBe(actor);
    jest.spyOn(Date, 'now').mockImplementation(() => now() - 86_400_000);
    await eventually(async () => expect(await actorOf(secret)).toBeUndefined(), { timeoutMs: 15_000 });
  });

  test('whose commit came late, with a time from before the last poll, is known within two polls', async () => {
    const { ring } = await startRing();
    const { id, secret, actor } = await newKey();
    // As if the row had been written 9 s ago and committed only now.
    await withClient(testDatabase.adminUrl, async (client) => {
      await client.query(`update gateway.api_keys set updated_at = now() - interval '9 s' where id = $1`, [id]);
    });
    await sleep(1_200);
    const found = ring.find(secret);
    expect(found).not.toBeInstanceOf(Promise);
    expect((found as Principal).caller.actor).toBe(actor);
  });

  test('has its last use noted at the stop, by the clock of the database', async () => {
    const { id, secret } = await newKey();
    const { actorOf } = await startRing();
    await actorOf(secret);
    await closing.pop()?.();
    const rows = await withClient(testDatabase.adminUrl, async (client) => {
      const query = `select last_used_at between now() - interval '10 s' and now() as noted, updated_at < last_used_at as
        is_unchanged from gateway.api_keys where id = $1`;
      return (await client.query(query, [id])).rows;
    });
    expect(rows).toEqual([{ noted: true, is_unchanged: true }]);
  });
});

describe('a revoked key', () => {
  test('is refused by every gateway within 2 s', async () => {
    const { id, secret, actor } = await newKey();
    const rings = await Promise.all([startRing(), startRing(), startRing(), startRing()]);
    for (const { actorOf } of rings) expect(await actorOf(secret)).toBe(actor);
    await revokeKey(database, id, null);
    const revokedAt = performance.now();
    await Promise.all(
      rings.map(({ actorOf }) =>
        eventually(async () => expect(await actorOf(secret)).toBeUndefined(), { timeoutMs: 2_000, everyMs: 10 }),
      ),
    );
    expect(performance.now() - revokedAt).toBeLessThan(2_000);
  });

  test('is refused within 2 s also when the poll after the revocation hangs', async () => {
    const { id, secret, actor } = await newKey();
    const { actorOf, delayNext } = await startRing();
    expect(await actorOf(secret)).toBe(actor);
    await delayNext().isReached; // it hangs now
    await revokeKey(database, id, null);
    const revokedAt = performance.now();
    await eventually(async () => expect(await actorOf(secret)).toBeUndefined(), { timeoutMs: 2_000, everyMs: 10 });
    expect(performance.now() - revokedAt).toBeLessThan(2_000);
  });

  test('is not revived by the answer to a poll from before the revocation that comes late', async () => {
    const { id, secret, ring, actorOf, late } = await startWithLatePoll();
    await revokeKey(database, id, null);
    await ring.refresh();
    expect(await actorOf(secret)).toBeUndefined();
    late.release();
    await ring.refresh();
    expect(await actorOf(secret)).toBeUndefined();
  });

  test('that its gateway has ended is not revived by a poll from before, also when the next poll fails', async () => {
    const { id, secret, ring, actorOf, late } = await startWithLatePoll();
    proxy.refuse(true);
    await revokeKey(database, id, null);
    ring.end(id);
    late.release();
    await setImmediate();
    expect(await actorOf(secret)).toBeUndefined();
  });

  test('is not kept from a new key by a poll that hangs', async () => {
    const { actorOf, delayNext } = await startRing();
    await delayNext().isReached;
    const { secret, actor } = await newKey();
    expect(await actorOf(secret)).toBe(actor);
  });

  test('stays refused while the database is away', async () => {
    const { id, secret } = await newKey();
    const other = await newKey();
    const { ring, actorOf } = await startRing();
    expect(await actorOf(secret)).toBeDefined();
    await revokeKey(database, id, null);
    await ring.refresh();
    proxy.refuse(true);
    await sleep(1_200);
    expect([await actorOf(secret), await actorOf(other.secret)]).toEqual([undefined, other.actor]);
  });

  test('and one that has expired are not loaded again by the reading of all keys', async () => {
    const revoked = await newKey();
    const expired = await newKey({ expires_at: new Date(Date.now() - 1_000) });
    await revokeKey(database, revoked.id, null);
    const { actorOf } = await startRing();
    expect([await actorOf(revoked.secret), await actorOf(expired.secret)]).toEqual([undefined, undefined]);
  });
});

describe('a rotated key', () => {
  test('has two secrets for the overlap, and then the new one', async () => {
    const { id, secret, actor } = await newKey();
    const { ring, actorOf } = await startRing();
    const next = createKey();
    await rotateKey(database, id, next, { overlapSeconds: 1, actor: null });
    await ring.refresh();
    expect([await actorOf(secret), await actorOf(next.secret)]).toEqual([actor, actor]);
    await sleep(1_100);
    expect([await actorOf(secret), await actorOf(next.secret)]).toEqual([undefined, actor]);
  });

  test('rotated again within the overlap loses its first secret at once', async () => {
    const { id, secret, actor } = await newKey();
    const { ring, actorOf } = await startRing();
    const [second, third] = [createKey(), createKey()];
    await rotateKey(database, id, second, { overlapSeconds: 600, actor: null });
    await ring.refresh();
    await rotateKey(database, id, third, { overlapSeconds: 600, actor: null });
    await ring.refresh();
    const actors = [await actorOf(secret), await actorOf(second.secret), await actorOf(third.secret)];
    expect(actors).toEqual([undefined, actor, actor]);
  });

  test('gets no ended secret back from a poll that began later and read earlier than the last one', async () => {
    const { id, secret, actor } = await newKey();
    const { actorOf, holdNext, delayNext } = await startRing();
    expect(await actorOf(secret)).toBe(actor);
    const first = holdNext();
    const second = delayNext();
    await first.isReached;
    await second.isReached;
    const next = createKey();
    await rotateKey(database, id, next, { overlapSeconds: 0, actor: null });
    first.release();
    await eventually(async () => expect(await actorOf(secret)).toBeUndefined());
    second.release();
    await setImmediate();
    expect(await actorOf(secret)).toBeUndefined();
  });

  test('that is revoked loses both secrets', async () => {
    const { id, secret } = await newKey();
    const { ring, actorOf } = await startRing();
    const next = createKey();
    await rotateKey(database, id, next, { overlapSeconds: 600, actor: null });
    await ring.refresh();
    await revokeKey(database, id, null);
    await ring.refresh();
    expect([await actorOf(secret), await actorOf(next.secret)]).toEqual([undefined, undefined]);
  });
});

describe('while the database is away', () => {
  test('a known key is accepted, and one that is not known is answered with 503, not with 401', async () => {
    const { secret, actor } = await newKey();
    const { actorOf } = await startRing();
    proxy.refuse(true);
    expect(await actorOf(secret)).toBe(actor);
    expect(await actorOf(createKey().secret)).toBe('unavailable');
    expect(await actorOf('ppk_wrong')).toBeUndefined(); // by its form, it is no key
  });

  test('a known key is answered with 503 when the last poll is too long ago, and accepted again afterwards', async () => {
    const { secret, actor } = await newKey();
    const { actorOf } = await startRing({ staleSeconds: 2 });
    proxy.refuse(true);
    await sleep(500);
    expect(await actorOf(secret)).toBe(actor);
    await sleep(2_500);
    expect(await actorOf(secret)).toBe('unavailable');
    proxy.refuse(false);
    await eventually(async () => expect(await actorOf(secret)).toBe(actor));
  });

  test('what was changed meanwhile holds within 2 s of its return', async () => {
    const { id, secret } = await newKey();
    const { actorOf } = await startRing();
    proxy.refuse(true);
    await sleep(6_000); // longer than the time that a poll looks back safely
    await revokeKey(database, id, null);
    proxy.refuse(false);
    await eventually(async () => expect(await actorOf(secret)).toBeUndefined(), { timeoutMs: 2_000 });
  });
});
