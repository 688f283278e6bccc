import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { defineEntity, p, raw } from '@mikro-orm/postgresql';
import { createTestDatabase, type TestDatabase } from '@promopulse/testing/servers';
import { type Database, openDatabase } from '../../src/database/database.ts';
import {
  type CompiledStatement,
  columnsOf,
  compileStatement,
  offlineEntityManager,
  type RowOf,
} from '../../src/database/prepared.ts';
import { withClient } from '../../src/database/provision.ts';

const Note = defineEntity({
  name: 'Note',
  tableName: 'notes',
  properties: {
    id: p.integer().primary().autoincrement(),
    title: p.string(),
    body: p.text().nullable(),
    kind: p.enum(['short', 'long']).default('short'),
    written_at: p.datetime(3).defaultRaw('now()'),
    version: p.integer().version(),
  },
});
type NoteRow = RowOf<typeof Note>;

const offline = offlineEntityManager('users', [Note]);
const columns = columnsOf(Note);
const notes = () => offline.createQueryBuilder(Note);
const list = '"id", "title", "body", "kind", "written_at", "version"';

describe('a compiled statement', () => {
  test('has the declared parameters at their positions, in whatever order the query needs them', () => {
    const compiled = compileStatement('note_rename', ['id', 'title'], ({ id, title }) =>
      notes().update({ title }).where({ id }).returning(columns),
    );
    expect(compiled).toEqual({
      name: 'note_rename',
      parameters: ['id', 'title'],
      text: `update "users"."notes" set "title" = $2, "version" = "version" + 1 where "id" = $1 returning ${list}`,
    });
  });

  test('may use a parameter twice, and inside a raw condition', () => {
    const { text } = compileStatement('note_find', ['text', 'kinds'], ({ text, kinds }) =>
      notes()
        .select('id')
        .where({ $or: [{ title: text }, { body: text }] })
        .andWhere('kind = any(?::text[])', [kinds]),
    );
    expect(text).toBe(
      'select "n0"."id" from "users"."notes" as "n0" ' +
        'where ("n0"."title" = $1 or "n0"."body" = $1) and (kind = any($2::text[]))',
    );
  });

  test('has its numbers, booleans, nulls and raw fragments inlined', () => {
    const { text } = compileStatement('note_touch', ['id'], ({ id }) =>
      notes()
        .update({ version: 7, body: null, written_at: raw('greatest(written_at, now())') })
        .where({ id })
        .returning('id'),
    );
    expect(text).toBe(
      'update "users"."notes" set "version" = 7, "body" = null, ' +
        '"written_at" = greatest(written_at, now()) where "id" = $1 returning "id"',
    );
  });

  test.each<[string, () => CompiledStatement, string]>([
    [
      'a value that is no parameter',
      () => compileStatement('note_bad', [], () => notes().select('id').where({ title: "o'clock" })),
      `note_bad holds a value that is no parameter: "o'clock"`,
    ],
    [
      'a parameter that is not used',
      () => compileStatement('note_bad', ['id', 'title'], ({ id }) => notes().select('id').where({ id })),
      'note_bad does not use its parameter title',
    ],
    [
      'a question mark that is no placeholder',
      () => compileStatement('note_bad', [], () => notes().select(raw(`'what?' as title`))),
      'note_bad has a question mark that is no placeholder',
    ],
  ])('cannot have %s', (_what, compile, message) => {
    expect(compile).toThrow(message);
  });
});

describe('on a database', () => {
  let testDatabase: TestDatabase;
  let database: Database;
  beforeAll(async () => {
    testDatabase = await createTestDatabase(['users']);
    const options = {
      url: testDatabase.urlFor('users'),
      schema: 'users',
      entities: [Note],
      migrations: import.meta.dirname,
    };
    database = await openDatabase({ ...options, pipelinedConnections: 0 });
    const em = database.em();
    const tables = await em.getPlatform().getSchemaGenerator(em.getDriver(), em).getCreateSchemaSQL({ wrap: false });
    await withClient(testDatabase.urlFor('users'), (client) => client.query(tables.replace(/^create schema .*$/m, '')));
  });
  afterAll(async () => {
    await database?.close();
    await testDatabase?.drop();
  });

  test('a compiled insert and select give rows of the types that RowOf says, with null for what is absent', async () => {
    const insert = compileStatement('note_insert', ['title', 'written_at'], (parameters) =>
      notes().insert(parameters).returning(columns),
    );
    const get = compileStatement('note_get', ['id'], ({ id }) => notes().select(columns).where({ id }));
    const at = new Date('2026-06-01T00:00:00.123Z');
    const row: NoteRow = { id: 1, title: 'a', body: null, kind: 'short', written_at: at, version: 1 };
    expect(await database.run<NoteRow>(insert, ['a', at])).toEqual([row]);
    expect(await database.run<NoteRow>(get, [1])).toEqual([row]);
  });

  test('a bigint is a number, exactly; one that a number cannot hold is an error, and the connection goes on', async () => {
    const read = (value: bigint) =>
      database.run<{ id: number }>({ name: 'big', text: 'select $1::bigint as id' }, [value]);
    for (const value of [0n, 2n ** 31n, 2n ** 53n - 1n, 1n - 2n ** 53n]) {
      expect(await read(value)).toEqual([{ id: Number(value) }]);
    }
    for (const value of [2n ** 53n, 2n ** 53n + 1n, -(2n ** 53n), 2n ** 63n - 1n]) {
      await expect(read(value)).rejects.toThrow('beyond the integers that a number holds exactly');
    }
    expect(await read(1n)).toEqual([{ id: 1 }]);
  });

  test('the columns of an entity are those of its table', async () => {
    const sql = `select column_name as name from information_schema.columns
                 where table_name = 'notes' order by ordinal_position`;
    const rows = await database.run<{ name: string }>({ text: sql }, []);
    expect(rows.map(({ name }) => name)).toEqual(columns);
  });
});
