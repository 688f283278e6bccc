import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { defineEntity, p } from '@mikro-orm/postgresql';
import { createTestDatabase, type TestDatabase } from '@promopulse/testing/servers';
import type pg from 'pg';
import { z } from 'zod';
import { id, utcTime, version } from '../../src/contracts/envelope.ts';
import { withClient } from '../../src/database/provision.ts';
import { causeValues, recordingStatement } from '../../src/outbox/outbox.ts';
import { payloadSql, presentRow } from '../../src/outbox/payload.ts';

const Note = defineEntity({
  name: 'Note',
  tableName: 'notes',
  properties: {
    id: p.integer().primary().autoincrement(),
    version: p.integer().default(1),
    body: p.text().nullable(),
    written_at: p.datetime(3),
    read_at: p.datetime(3).nullable(),
    secret: p.text(),
  },
});
const contract = z.object({
  id,
  version,
  body: z.string().nullable(),
  written_at: utcTime,
  read_at: utcTime.nullable(),
});

describe('the payload of a row', () => {
  let testDatabase: TestDatabase;
  beforeAll(async () => {
    testDatabase = await createTestDatabase(['users']);
  });
  afterAll(() => testDatabase?.drop());

  const ask = <Row extends pg.QueryResultRow>(text: string, values: unknown[]): Promise<Row[]> =>
    withClient(testDatabase.urlFor('users'), async (client) => (await client.query<Row>(text, values)).rows);

  test.each([
    ['a whole second', '2026-06-01T00:00:00Z', null],
    ['milliseconds', '2026-06-01T00:00:00.120Z', '2026-06-30T23:59:59.001Z'],
    ['the first year', '0001-01-01T00:00:00Z', '0999-12-31T23:59:59.999Z'],
    ['the last year', '9999-12-31T23:59:59.999Z', '9999-12-31T23:59:59Z'],
  ])('is the same in SQL and in JavaScript for %s, and meets the contract', async (_case, written, read) => {
    const [row] = await ask<{ payload: unknown; body: null; written_at: Date; read_at: Date | null }>(
      `select ${payloadSql(contract, Note)} as payload, note.*
       from (select 1 as id, 2 as version, null as body, $1::timestamptz(3) as written_at,
                    $2::timestamptz(3) as read_at, 'hidden' as secret) as note`,
      [written, read],
    );
    const expected = { id: 1, version: 2, body: null, written_at: written, read_at: read };
    expect(row?.payload).toEqual(expected);
    expect(
      presentRow(contract, { ...expected, written_at: new Date(written), read_at: read && new Date(read) }),
    ).toEqual(expected);
    expect(contract.parse(row?.payload)).toEqual(expected);
  });
});

test('a field that only the contract has is a type error, and an error that names it and the entity', () => {
  const wider = contract.extend({ colour: z.string() });
  // @ts-expect-error the entity has no column "colour"
  expect(() => payloadSql(wider, Note)).toThrow('The contract has the field "colour", and the entity Note has not.');
  // @ts-expect-error the column may be null, and the contract says that it is not
  payloadSql(contract.extend({ body: z.string() }), Note);
  // @ts-expect-error the column is a number, and the contract says text
  payloadSql(contract.extend({ version: z.string() }), Note);
});

describe('a statement that records an event', () => {
  const change = { text: 'update notes set body = $2 where id = $1 returning id, version', parameters: ['id', 'body'] };

  test('takes the values of the change, then those of the cause', () => {
    const { name, text, parameters } = recordingStatement('note_edit', change, { event: 'user.created', entity: Note });
    expect({ name, parameters }).toEqual({
      name: 'note_edit',
      parameters: ['id', 'body', 'event_id', 'request_id', 'actor', 'trace_parent'],
    });
    expect(text.replaceAll(/\s+/g, ' ')).toBe(
      `with changed as (${change.text}), recorded as ( ` +
        'insert into outbox (event_id, name, subject, data, request_id, actor, trace_parent, reply_to) ' +
        `select $3::uuid, 'user.created', id::text, jsonb_build_object('id', "id", 'version', "version"), $4, $5, $6, null ` +
        'from changed ) select * from changed',
    );
    expect(causeValues({ eventId: 'e', requestId: 'r', actor: 'key:k' })).toEqual(['e', 'r', 'key:k', null]);
  });

  test('takes an address for the reply last, where one is wanted', () => {
    const recording = { event: 'user.created', entity: Note, withReply: true } as const;
    const { text, parameters } = recordingStatement('note_edit', change, recording);
    expect(parameters.at(-1)).toBe('reply_to');
    expect(text).toContain('$7');
  });

  test('writes what stands beside the event, with its own parameters before the address', () => {
    const beside = {
      returning: ['old.body as old_body'],
      parameters: ['reason'],
      insert: (position: (parameter: string) => string) =>
        `insert into journal select id, old_body, ${position('reason')}, ${position('actor')} from changed`,
    };
    const recording = { event: 'user.created', entity: Note, beside, withReply: true } as const;
    const { text, parameters } = recordingStatement('note_edit', change, recording);
    expect(parameters.slice(2)).toEqual(['event_id', 'request_id', 'actor', 'trace_parent', 'reason', 'reply_to']);
    const oneLine = text.replaceAll(/\s+/g, ' ');
    expect(oneLine).toMatch(
      /^with changed as \(update .* returning id, version, old\.body as old_body\), recorded as /,
    );
    expect(oneLine).toContain('beside as (insert into journal select id, old_body, $7, $5 from changed)');
    // What `old` holds is for the insert only.
    expect(oneLine).toMatch(/ select id, version, body, written_at, read_at, secret from changed$/);
  });

  test('cannot record an event whose contract the entity does not meet', () => {
    const recording = { event: 'promotion.created', entity: Note } as const;
    // @ts-expect-error the entity has no name, no status and no period
    expect(() => recordingStatement('note_edit', change, recording)).toThrow('The contract has the field "name"');
  });
});
