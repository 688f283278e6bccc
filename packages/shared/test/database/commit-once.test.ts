// The promise: a request with an idempotency key makes its change once, whatever happens to it and to its repetitions.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';
import { createTestDatabase, type TestDatabase } from '@promopulse/testing/servers';
import { startTcpProxy, type TcpProxy } from '@promopulse/testing/tcp-proxy';
import pg from 'pg';
import type { Cause } from '../../src/contracts/cause.ts';
import { type Database, openDatabase } from '../../src/database/database.ts';
import { type CommitOnce, createCommitOnce } from '../../src/database/idempotency/commit-once.ts';
import {
  type Answer,
  type AnswerProtection,
  IdempotencyKey,
  openAnswers,
} from '../../src/database/idempotency/idempotency-keys.ts';
import { startKeyPruning } from '../../src/database/idempotency/prune-keys.ts';
import { withClient } from '../../src/database/provision.ts';
import { violatedConstraint } from '../../src/database/sqlstate.ts';
import { createLogger } from '../../src/telemetry/logger.ts';
import { JsonText } from '../../src/values/json-text.ts';

const log = createLogger({ service: 'test', level: 'silent' });
let testDatabase: TestDatabase;
let proxy: TcpProxy;
let database: Database;
let commitOnce: CommitOnce;

const open = (url: string) =>
  openDatabase({ url, schema: 'users', entities: [IdempotencyKey], migrations: import.meta.dirname });

beforeAll(async () => {
  testDatabase = await createTestDatabase(['users', 'promotions']);
  const first = await open(testDatabase.urlFor('users'));
  const em = first.em();
  const tables = await em.getPlatform().getSchemaGenerator(em.getDriver(), em).getCreateSchemaSQL({ wrap: false });
  await first.run({ text: tables.replace(/create schema[^;]*;/, '') }, []);
  await first.run({ text: 'create table cards (id serial primary key, label text constraint cards_label unique)' }, []);
  await first.close();
});
afterAll(() => testDatabase.drop());
beforeEach(async () => {
  await sql('truncate cards, idempotency_keys');
  proxy = await startTcpProxy(testDatabase.adminUrl);
  database = await open(proxy.through(testDatabase.urlFor('users')));
  commitOnce = createCommitOnce(database);
});
afterEach(async () => {
  await database.close();
  await proxy.close();
});

// biome-ignore lint/suspicious/noExplicitAny: rows of any statement
const sql = (text: string): Promise<any[]> =>
  withClient(testDatabase.urlFor('users'), async (client) => (await client.query(text)).rows);
const labels = async () => (await sql('select label from cards order by id')).map(({ label }) => label);

const requestOf = (key: string, content = 'POST /cards', actor?: string): Cause => ({
  requestId: randomUUID(),
  actor,
  idempotency: { key, content: Buffer.from(content) },
});
const insert = { text: 'insert into cards (label) values ($1) returning id, label' };
const addCard =
  (label: string, during: (transaction: Database) => Promise<unknown> = async () => {}) =>
  async (transaction: Database) => {
    const [card] = await transaction.write<{ id: number; label: string }>(insert, [label]);
    await during(transaction);
    return { status: 201, body: card, headers: { Location: `/cards/${card?.id}` } };
  };
async function failureOf(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
  } catch (error) {
    return error;
  }
  throw new Error('the work did not fail');
}
const isReplayed = ({ headers }: Answer): boolean => headers?.['Idempotent-Replayed'] === 'true';

describe('a request with a key', () => {
  test('is answered once by its work, and from then on by the kept answer', async () => {
    const first = await commitOnce(requestOf('k'), addCard('a'));
    expect(first).toMatchObject({ status: 201, body: { label: 'a' } });
    expect(first.headers).not.toHaveProperty('Idempotent-Replayed');
    const again = await commitOnce(requestOf('k'), () => Promise.reject(new Error('it must not run')));
    expect(again).toEqual({
      status: 201,
      body: new JsonText(JSON.stringify(first.body)),
      headers: { ...first.headers, 'Idempotent-Replayed': 'true' },
    });
    expect(await labels()).toEqual(['a']);
  });

  test('whose work fails after a part of it has failed leaves nothing of the work', async () => {
    const write = (transaction: Database, label: string) => transaction.write(insert, [label]);
    await commitOnce(requestOf('k'), async (transaction) => {
      await write(transaction, 'kept');
      const outer = transaction.transaction(async () => {
        await write(transaction, 'undone');
        expect(violatedConstraint(await failureOf(write(transaction, 'kept')))).toBe('cards_label');
        await write(transaction, 'undone too');
        throw new Error('the work as a whole');
      });
      expect(String(await failureOf(outer))).toMatch('the work as a whole');
      await write(transaction, 'kept too');
      return { status: 204 };
    });
    expect(await labels()).toEqual(['kept', 'kept too']);
  });

  test('whose answer has no body is repeated without one', async () => {
    const work = async () => ({ status: 204, headers: { ETag: '"1"' } });
    expect(await commitOnce(requestOf('k'), work)).toEqual({ status: 204, headers: { ETag: '"1"' } });
    const again = await commitOnce(requestOf('k'), () => Promise.reject(new Error('it must not run')));
    expect(again).toEqual({ status: 204, headers: { ETag: '"1"', 'Idempotent-Replayed': 'true' } });
  });

  test('takes 7 round trips for a change of one statement, and 4 for its repetition', async () => {
    const query = jest.spyOn(pg.Client.prototype, 'query');
    const textsOf = async (work: () => Promise<unknown>) => {
      query.mockClear();
      await work();
      const sent = (query.mock.calls as unknown[][]).map(([first]) => first as string | { text: string });
      return sent.map((one) => (typeof one === 'string' ? one : one.text));
    };
    try {
      await commitOnce(requestOf('first'), addCard('first')); // a new connection sends its settings
      const first = await textsOf(() => commitOnce(requestOf('k'), addCard('a')));
      const again = await textsOf(() => commitOnce(requestOf('k'), addCard('a')));
      expect(first.map((text) => text.split(' ')[0])).toEqual([
        ...['begin', 'select', 'select', 'savepoint', 'insert', 'insert', 'commit'],
      ]);
      expect(again.map((text) => text.split(' ')[0])).toEqual(['begin', 'select', 'select', 'commit']);
    } finally {
      query.mockRestore();
    }
  });

  test('tells the listeners of commits after the commit', async () => {
    const seen: Promise<string[]>[] = [];
    database.onCommit(() => seen.push(labels()));
    await commitOnce(requestOf('k'), addCard('a'));
    expect(await Promise.all(seen)).toEqual([['a']]);
  });

  test('50 at once make one change: the others get the same answer, or are told that it is in progress', async () => {
    const outcomes = await Promise.all(
      Array.from({ length: 50 }, () =>
        commitOnce(
          requestOf('k'),
          addCard('a', () => sleep(50)),
        ).catch((error: { code: string; retryAfter: number }) => error),
      ),
    );
    const kinds = outcomes.map((one) =>
      'status' in one ? (isReplayed(one) ? 'replayed' : 'made') : `${one.code} ${one.retryAfter}`,
    );
    expect(kinds.filter((kind) => kind === 'made')).toHaveLength(1);
    expect(kinds).toContain('idempotency_in_progress 1');
    for (const kind of kinds) expect(['made', 'replayed', 'idempotency_in_progress 1']).toContain(kind);
    expect(await labels()).toEqual(['a']);
  });

  test('of two actors with one key are two requests, and so are those of no actor', async () => {
    await commitOnce(requestOf('k', 'x', 'key:1'), addCard('a'));
    await commitOnce(requestOf('k', 'x', 'key:2'), addCard('b'));
    await commitOnce(requestOf('k', 'x'), addCard('c'));
    await commitOnce(requestOf('k', 'x', 'key:2'), addCard('d'));
    expect(await labels()).toEqual(['a', 'b', 'c']);
  });

  test('and another content of one byte more is refused, and changes nothing', async () => {
    await commitOnce(requestOf('k', 'POST /cards a'), addCard('a'));
    const refused = failureOf(commitOnce(requestOf('k', 'POST /cards a '), addCard('b')));
    expect(await refused).toMatchObject({ kind: 'invalid', code: 'idempotency_key_reused' });
    expect(await labels()).toEqual(['a']);
  });

  test('keeps neither its key nor its content as they were sent', async () => {
    await commitOnce(requestOf('Ada@Example.com', 'phone 4155550123'), addCard('a'));
    const rows = JSON.stringify(await sql('select k::text, encode(key, $$escape$$) as e from idempotency_keys k'));
    expect(rows).not.toMatch(/ada@|41555/i);
  });
});

describe('a key is free', () => {
  test('after its work has failed: a refusal is decided anew', async () => {
    const refusal = commitOnce(
      requestOf('k'),
      addCard('a', () => Promise.reject(new RangeError('no'))),
    );
    await expect(refusal).rejects.toThrow('no');
    expect(await labels()).toEqual([]);
    expect(await commitOnce(requestOf('k'), addCard('a'))).toMatchObject({ status: 201 });
  });

  test('after work that has changed nothing', async () => {
    expect(await commitOnce(requestOf('k'), async () => undefined)).toBeUndefined();
    expect(await commitOnce(requestOf('k'), addCard('a'))).toMatchObject({ status: 201 });
  });

  test('when the process, or its connection, dies between the work and the commit', async () => {
    const killed = failureOf(
      commitOnce(
        requestOf('k'),
        addCard('a', async (transaction) => {
          const [row] = await transaction.run<{ pid: number }>({ text: 'select pg_backend_pid() as pid' }, []);
          await withClient(testDatabase.adminUrl, (client) =>
            client.query('select pg_terminate_backend($1)', [row?.pid]),
          );
        }),
      ),
    );
    expect(await killed).not.toHaveProperty('code', 'outcome_unknown');
    expect(await labels()).toEqual([]);
    const again = await eventually(() => commitOnce(requestOf('k'), addCard('a')));
    expect(again.headers).not.toHaveProperty('Idempotent-Replayed');
  });

  test('when it has expired: then the request is a new one', async () => {
    await commitOnce(requestOf('old'), addCard('a'));
    await sql(`update idempotency_keys set created_at = now() - interval '25 hours'`);
    await commitOnce(requestOf('young'), addCard('b'));
    const stop = startKeyPruning({ database, log, retentionSeconds: 86_400, everyMs: 20 });
    await eventually(async () => expect(await sql('select from idempotency_keys')).toHaveLength(1));
    await stop();
    expect((await commitOnce(requestOf('young'), addCard('c'))).headers).toHaveProperty('Idempotent-Replayed');
    expect((await commitOnce(requestOf('old'), addCard('d'))).headers).not.toHaveProperty('Idempotent-Replayed');
    expect(await labels()).toEqual(['a', 'b', 'd']);
  });
});

test('a commit whose answer is lost has an unknown outcome, and its repetition has the answer', async () => {
  proxy.swallow('commit');
  const lost = failureOf(commitOnce(requestOf('k'), addCard('a')));
  await eventually(async () => expect(await labels()).toEqual(['a']));
  proxy.swallow(undefined);
  proxy.cut();
  expect(await lost).toMatchObject({ code: 'outcome_unknown' });
  const again = await eventually(() => commitOnce(requestOf('k'), addCard('b')));
  expect(again).toMatchObject({ status: 201, headers: { 'Idempotent-Replayed': 'true' } });
  expect(await labels()).toEqual(['a']);
});

describe('within the transaction', () => {
  test('work goes on after a statement that has violated a constraint', async () => {
    await sql(`insert into cards (label) values ('taken')`);
    await commitOnce(requestOf('k'), async (transaction) => {
      const error = await failureOf(transaction.write(insert, ['taken']));
      expect(violatedConstraint(error)).toBe('cards_label');
      return await addCard('free')(transaction);
    });
    expect(await labels()).toEqual(['taken', 'free']);
  });

  test('what a failed transaction inside it has changed is not committed', async () => {
    await commitOnce(requestOf('k'), async (transaction) => {
      const inner = transaction.transaction(async (em) => {
        await em.execute(`insert into cards (label) values ('half')`);
        throw new RangeError('no');
      });
      await expect(inner).rejects.toThrow('no');
      await transaction.transaction((em) => em.execute(`insert into cards (label) values ('whole')`));
      return { status: 200, body: {} };
    });
    expect(await labels()).toEqual(['whole']);
  });

  test('values are read as outside it', async () => {
    const text = `select now() as time, 9007199254740991::bigint as big, '{"b": 1.50}'::json as json`;
    const read = async (from: Database) => (await from.run<Record<string, unknown>>({ text }, []))[0];
    const inside = await commitOnce(requestOf('k'), async (transaction) => {
      const row = await read(transaction);
      expect(row).toEqual({ ...(await read(database)), time: expect.any(Date) });
      return { status: 200, body: row };
    });
    expect(inside.body).toMatchObject({ big: 9007199254740991, json: new JsonText('{"b": 1.50}') });
    const again = await commitOnce(requestOf('k'), async () => ({ status: 500, body: {} }));
    expect((again.body as JsonText).text).toContain('"json":{"b": 1.50}');
  });

  test('a row that is locked for longer is waited for, and the work runs once more in a new transaction', async () => {
    await sql(`insert into cards (label) values ('locked')`);
    const update = { text: `update cards set label = 'x' || label where id > $1 returning id`, row: () => 'cards' };
    await withClient(testDatabase.urlFor('users'), async (holder) => {
      await holder.query('begin; select from cards for update');
      let runs = 0;
      const waiting = commitOnce(requestOf('k'), async (transaction) => {
        runs += 1;
        await addCard('new')(transaction);
        return { status: 200, body: await transaction.write(update, [0]) };
      });
      await eventually(() => expect(runs).toBe(2));
      await holder.query('rollback');
      expect(await waiting).toMatchObject({ status: 200, body: [{}, {}] });
    });
    expect(await labels()).toEqual(['xlocked', 'xnew']);
  });
});

describe('answers that are kept encrypted', () => {
  const protection: AnswerProtection = {
    secret: Buffer.from('a secret'),
    seal: (text) => Buffer.from(text).toString('hex'),
    unseal: (text) => Buffer.from(text, 'hex').toString(),
  };

  test('are stored by seal and read by unseal', async () => {
    const sealed = createCommitOnce(database, protection);
    const first = await sealed(requestOf('k'), addCard('a'));
    expect(JSON.stringify(await sql('select answer, headers from idempotency_keys'))).not.toContain('label');
    expect((await sealed(requestOf('k'), addCard('b'))).body).toEqual(new JsonText(JSON.stringify(first.body)));
  });

  test('and cannot be read any more are a conflict that says where to look, and never a second change', async () => {
    await commitOnce(requestOf('k'), addCard('a'));
    const blind = createCommitOnce(database, { ...openAnswers, unseal: () => undefined });
    const lost = failureOf(blind(requestOf('k'), addCard('b')));
    expect(await lost).toMatchObject({
      kind: 'conflict',
      code: 'idempotent_answer_lost',
      headers: { Location: expect.stringMatching(/^\/cards\/\d+$/) },
    });
    expect(await labels()).toEqual(['a']);
  });

  test('have another key and fingerprint under another secret', async () => {
    await createCommitOnce(database, protection)(requestOf('k'), addCard('a'));
    await commitOnce(requestOf('k'), addCard('b'));
    const distinct = 'select count(distinct key)::int as keys, count(distinct fingerprint)::int as prints';
    expect(await sql(`${distinct} from idempotency_keys`)).toEqual([{ keys: 2, prints: 2 }]);
  });
});

test('a key of one schema does not lock the same key of another', async () => {
  const other = { ...database, schema: 'promotions' };
  await commitOnce(
    requestOf('k'),
    addCard('a', async () => {
      expect(await createCommitOnce(other)(requestOf('k'), addCard('b'))).toMatchObject({ status: 201 });
    }),
  );
  expect(await labels()).toEqual(['a', 'b']);
});

test('pruning deletes a large number in batches, by several replicas at once, and leaves what is young', async () => {
  await sql(`insert into idempotency_keys (scope, key, fingerprint, status, answer, headers, created_at)
    select 'anonymous', int4send(n), '\\x00', 200, '{}', '{}', now() - n % 2 * interval '2 hours' from generate_series(1, 7000) n`);
  const prune = () => startKeyPruning({ database, log, retentionSeconds: 3_600, everyMs: 20 });
  const stops = [prune(), prune(), prune()];
  await eventually(async () => expect(await sql('select from idempotency_keys')).toHaveLength(3_500));
  for (const stop of stops) await stop();
  expect(await sql(`select from idempotency_keys where created_at < now() - interval '1 hour'`)).toHaveLength(0);
});
