// The promise of the field types: a real Postgres stores every accepted value and returns the same value, both as
// MikroORM's literal and as a bound parameter of the driver.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { defineEntity, p } from '@mikro-orm/postgresql';
import { createTestDatabase, type TestDatabase } from '@promopulse/testing/servers';
import fc from 'fast-check';
import { z } from 'zod';
import { type Database, openDatabase } from '../../src/database/database.ts';
import { createCursor, pageQuery, positionTime } from '../../src/http/pagination.ts';
import { bodyId, filledText, moment, presentTime, text, textId, textInteger } from '../../src/http/schemas.ts';

const Sample = defineEntity({
  name: 'Sample',
  tableName: 'samples',
  properties: {
    id: p.bigint('number').primary(),
    words: p.string().length(50),
    at: p.datetime(3),
  },
});

let testDatabase: TestDatabase;
let database: Database;
beforeAll(async () => {
  testDatabase = await createTestDatabase(['users']);
  database = await openDatabase({
    url: testDatabase.urlFor('users'),
    schema: 'users',
    entities: [Sample],
    migrations: import.meta.dirname,
  });
  await database.run(
    { text: 'create table samples (id bigint primary key, words varchar(50) not null, at timestamptz(3) not null)' },
    [],
  );
});
afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});

interface Sample {
  id: number;
  words: string;
  at: Date;
}
const plain: Sample = { id: 1, words: 'x', at: new Date(0) };

async function throughMikroOrm(sample: Sample): Promise<Sample> {
  await database.run({ name: 'clear', text: 'delete from samples' }, []);
  await database.em().insert(Sample, sample);
  const { id, words, at } = await database.em().findOneOrFail(Sample, { id: sample.id, words: sample.words });
  return { id, words, at };
}

async function throughTheDriver({ id, words, at }: Sample): Promise<Sample | undefined> {
  await database.run({ name: 'clear', text: 'delete from samples' }, []);
  const values = [id, words, at];
  await database.run({ name: 'insert', text: 'insert into samples (id, words, at) values ($1, $2, $3)' }, values);
  const select = 'select id, words, at from samples where id = $1 and words = $2 and at = $3';
  return (await database.run<Sample>({ name: 'select', text: select }, values))[0];
}

/** Asserts that the database returns every accepted value as it was parsed. */
async function expectAcceptedIsStored<Input>(
  inputs: fc.Arbitrary<Input>,
  schema: z.ZodType,
  field: keyof Sample,
): Promise<{ accepted: number; rejected: number }> {
  const count = { accepted: 0, rejected: 0 };
  await fc.assert(
    fc.asyncProperty(inputs, async (input) => {
      const parsed = schema.safeParse(input);
      count[parsed.success ? 'accepted' : 'rejected'] += 1;
      if (!parsed.success) return;
      const sample = { ...plain, [field]: parsed.data };
      expect(await throughMikroOrm(sample)).toEqual(sample);
      expect(await throughTheDriver(sample)).toEqual(sample);
    }),
    { numRuns: 200 },
  );
  return count;
}

const decimals = fc.oneof(
  fc.bigInt({ min: -10n, max: 5_000_000_000n }).map(String),
  fc.bigInt({ min: 2n ** 53n - 50n, max: 2n ** 53n + 50n }).map(String),
  fc.constantFrom(
    '0',
    '1',
    '2147483647',
    '2147483648',
    '9007199254740991',
    '9007199254740992',
    '00',
    '-0',
    '1.0',
    '1e2',
    '0x1',
    ' 1',
    '1 ',
    '+1',
    '１',
    '',
  ),
);
const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc.string({ unit: 'grapheme', maxLength: 60 }),
  fc.tuple(fc.string(), fc.constantFrom('\0', '\ud800', '\udc00'), fc.string()).map((parts) => parts.join('')),
  fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 60 }).map((units) => String.fromCharCode(...units)),
  fc.constantFrom("'", "\\'", '$1', '?', '??', '\\u0000', '%s', "'; drop table samples; --", 'e\u0301'.repeat(50)),
);

describe('an id', () => {
  test('that is accepted as text can be stored', async () => {
    const { accepted, rejected } = await expectAcceptedIsStored(decimals, textId, 'id');
    expect(Math.min(accepted, rejected)).toBeGreaterThan(10);
  });

  test('that is accepted as a number can be stored', async () => {
    const numbers = fc.oneof(fc.integer({ min: -5, max: 2 ** 32 }), fc.double(), fc.constantFrom(2 ** 53 - 1, 2 ** 53));
    const { accepted, rejected } = await expectAcceptedIsStored(numbers, bodyId, 'id');
    expect(Math.min(accepted, rejected)).toBeGreaterThan(10);
  });

  test.each([true, '1', null, [1], {}, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 0, -0, -1, 2 ** 53, 2 ** 53 + 2])(
    'in a body is never %p',
    (value) => {
      expect(bodyId.safeParse(value).error?.issues.map(({ message }) => message)).toContain(
        'must be an integer from 1 to 9007199254740991',
      );
    },
  );
});

test('an integer as text is read from plain decimal digits, within its bounds', () => {
  fc.assert(
    fc.property(
      decimals,
      fc.integer({ min: 0, max: 2 ** 31 - 1 }),
      fc.integer({ min: 0, max: 2 ** 31 - 1 }),
      (input, a, b) => {
        const [min, max] = [Math.min(a, b), Math.max(a, b)];
        const value = Number(input);
        const expected = /^(0|[1-9]\d*)$/.test(input) && value >= min && value <= max ? value : undefined;
        expect(textInteger(min, max).safeParse(input).data).toBe(expected);
      },
    ),
  );
});

describe('a cursor', () => {
  const kinds = ['big', 'small'] as const;
  const cursor = createCursor({
    list: 's2',
    listBefore: 's1',
    filters: { owner: textId.optional(), kind: z.enum(kinds).optional(), loud: z.stringbool().optional() },
    position: z.tuple([positionTime, bodyId]),
  });
  const query = pageQuery(cursor);
  const position = fc.tuple(
    fc.integer({ min: -62_135_596_800_000, max: 253_402_300_799_999 }),
    fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  );
  const filters = fc.record(
    {
      owner: fc.integer({ min: 1, max: 3 }).map(String),
      kind: fc.constantFrom(...kinds),
      loud: fc.constantFrom('true', 'false'),
    },
    { requiredKeys: [] },
  );
  const encode = (text: string) => Buffer.from(text).toString('base64url');

  test('is parsed into the position and filters that were written, and needs no escaping in a URL', () => {
    fc.assert(
      fc.property(position, filters, (at, { owner = '', kind = '', loud = '' }) => {
        const text = cursor.write(at, { owner: owner && Number(owner), kind, loud });
        expect(text).toMatch(/^[\w-]+$/);
        expect(cursor.field.parse(text)).toEqual({ position: at, filters: [owner, kind, loud] });
      }),
    );
  });

  test('is accepted with the filters it was given under, and any limit; each other filter is named', () => {
    fc.assert(
      fc.property(position, filters, filters, fc.integer({ min: 1, max: 1000 }), (at, given, sent, limit) => {
        const text = cursor.write(at, query.parse(given));
        const { data, error } = query.safeParse({ ...sent, limit: String(limit), cursor: text });
        const changed = (['owner', 'kind', 'loud'] as const).filter((name) => given[name] !== sent[name]);
        expect(error?.issues.map(({ path, message }) => [path, message]) ?? []).toEqual(
          changed.map((name) => [[name], 'must be the same as in the request that gave the cursor']),
        );
        if (changed.length === 0) expect(data?.cursor?.position).toEqual(at);
      }),
      { numRuns: 500 },
    );
  });

  test('knows a filter by its value, not by how it is written', () => {
    const text = cursor.write([1, 1], query.parse({ loud: 'yes' }));
    expect(query.safeParse({ loud: '1', cursor: text }).success).toBe(true);
    expect(query.safeParse({ loud: 'no', cursor: text }).success).toBe(false);
  });

  test('of the release before, which has no filters, is accepted with any', () => {
    fc.assert(
      fc.property(position, filters, ([time, id], sent) => {
        const { data } = query.safeParse({ ...sent, cursor: encode(`s1.${time}.${id}`) });
        expect(data?.cursor).toEqual({ position: [time, id], filters: undefined });
      }),
    );
  });

  test('with any other text is rejected: only text that was written is accepted', () => {
    const rejected = [
      ...['', 's1', 's1.1', 's1.1.0', 's1.1.9007199254740992', 's1.253402300800000.1', 's1.-62135596800001.1'],
      ...['s1.1.1.1', 's1.01.1', 's1.1e3.1', 's1..1', 's1.1.1 ', 's3.1.1', 'p1.1', 'p1.1.1', 's1.1.5.1', 's1.-0.1'],
      ...['s2', 's2...', 's2....', 's2.....', 's2....1', 's2....1.', 's2.1.1', 's2..1.1', 's2...1.1', 's2.....1.1'],
      ...[
        's2....01.1',
        's2....1.1.1',
        's2....1.0',
        'p2....1.1',
        's2é....1.1',
        's2....1.1\n',
        's2.ü...1.1',
        'S2....1.1',
      ],
    ].map(encode);
    const good = cursor.write([1, 1], {});
    expect(good).toBe(encode('s2....1.1'));
    for (const text of [...rejected, `${good}=`, ` ${good}`, `${good}AA`, good.slice(0, -1), 's2....1.1']) {
      expect([text, cursor.field.safeParse(text).success]).toEqual([text, false]);
    }
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.base64String()), (text) => {
        const { data } = cursor.field.safeParse(text);
        const [owner, kind, loud] = data?.filters ?? [];
        expect(data === undefined || cursor.write(data.position, { owner, kind, loud }) === text).toBe(true);
      }),
    );
  });
});

describe('text', () => {
  test('that is accepted can be stored', async () => {
    const { accepted, rejected } = await expectAcceptedIsStored(anyText, text(50), 'words');
    expect(Math.min(accepted, rejected)).toBeGreaterThan(10);
  });

  test('is stored in NFC and measured in code points of NFC, as in Postgres', async () => {
    const emoji = '🎉'.repeat(50);
    expect(emoji).toHaveLength(100);
    expect(text(50).parse(emoji)).toBe(emoji);
    expect(text(50).safeParse(`${emoji}!`).success).toBe(false);
    expect(text(50).parse('e\u0301'.repeat(50))).toBe('\u00e9'.repeat(50));
    expect(await throughMikroOrm({ ...plain, words: emoji })).toMatchObject({ words: emoji });
  });

  test('that must be filled is not only Unicode white space', () => {
    for (const blank of ['', ' ', '\t\r\n', '\u00a0\u2003\u3000\ufeff']) {
      expect(filledText(5).safeParse(blank).error?.issues[0]?.message).toBe('must not be empty');
    }
    expect(filledText(5).parse(' a ')).toBe(' a ');
  });

  test('with a secret is rejected, on one line and on several', () => {
    const secret = `ppk_${'7HqdExample'.repeat(4)}12345`;
    for (const schema of [text(100), filledText(100)]) {
      for (const value of [secret, `Use ${secret}.`]) {
        const rules = schema.safeParse(value).error?.issues.map(({ message }) => message);
        expect(rules).toEqual(['must not have an API key or an access token in it']);
      }
    }
  });

  test('that is far too long is rejected within milliseconds', () => {
    const start = performance.now();
    expect(text(255).safeParse('x'.repeat(65_000)).success).toBe(false);
    expect(performance.now() - start).toBeLessThan(200);
  });
});

describe('a moment', () => {
  const two = (number: number) => String(number).padStart(2, '0');
  const times = fc
    .record({
      date: fc.date({ min: new Date('-000001-01-01T00:00:00Z'), max: new Date('9999-12-31T23:59:59.999Z') }),
      fraction: fc.constantFrom('', '.1', '.12', '.123', '.999999', '.0000000001'),
      offset: fc.oneof(
        fc.constant('Z'),
        fc
          .tuple(fc.constantFrom('+', '-'), fc.integer({ min: 0, max: 25 }), fc.integer({ min: 0, max: 61 }))
          .map(([sign, hours, minutes]) => `${sign}${two(hours)}:${two(minutes)}`),
      ),
    })
    .filter(({ date }) => !Number.isNaN(date.getTime()))
    .map(({ date, fraction, offset }) => `${date.toISOString().slice(0, -5)}${fraction}${offset}`);

  test('that is accepted can be stored, to the millisecond', async () => {
    const edges = fc.constantFrom(
      '0001-01-01T00:00:00Z',
      '0001-01-01T00:00:00+14:00',
      '0099-12-31T23:59:59.999Z',
      '1883-11-18T12:00:00Z',
      '9999-12-31T23:59:59.999Z',
      '9999-12-31T23:59:59-00:01',
      '2024-02-29T00:00:00Z',
    );
    const { accepted, rejected } = await expectAcceptedIsStored(fc.oneof(times, times, edges), moment, 'at');
    expect(Math.min(accepted, rejected)).toBeGreaterThan(10);
  });

  test.each([
    '2026-06-01T00:00:00',
    '2026-06-01',
    '2026-06-01_00:00:00Z',
    '2026-02-29T00:00:00Z',
    '2026-06-31T00:00:00Z',
    '2026-13-01T00:00:00Z',
    '2026-06-01T24:00:01Z',
    '2026-06-01T23:59:60Z',
    '2026-06-01T00:00:00+25:00',
    '2026-06-01T00:00:00 Z',
    '+300000-01-01T00:00:00Z',
    '300000-01-01T00:00:00Z',
    '0000-01-01T00:00:00Z',
    '9999-12-31T23:59:59-01:00',
    'now',
    '',
    1_780_272_000_000,
    null,
    ['2026-06-01T00:00:00Z'],
  ])('is never %j', (input) => {
    expect(moment.safeParse(input).success).toBe(false);
  });

  test('is shown in UTC, with milliseconds only if they are not zero, and parses to the same time', () => {
    expect(presentTime(moment.parse('2026-06-01T02:00:00+02:00'))).toBe('2026-06-01T00:00:00Z');
    expect(presentTime(moment.parse('2026-06-01T00:00:00.120Z'))).toBe('2026-06-01T00:00:00.120Z');
    fc.assert(
      fc.property(times, (input) => {
        const parsed = moment.safeParse(input);
        if (parsed.success) expect(moment.parse(presentTime(parsed.data))).toEqual(parsed.data);
      }),
    );
  });
});
