import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { createTestDatabase, type TestDatabase } from '@promopulse/testing/servers';
import { type Database, openDatabase } from '../../src/database/database.ts';
import { unavailable } from '../../src/errors.ts';
import { OutboxMessage } from '../../src/outbox/outbox.ts';
import { describeError, summarizeError } from '../../src/telemetry/describe-error.ts';
import { createLogger, warnRepeatedly } from '../../src/telemetry/logger.ts';

const secret = 'ada@example.com';

function collectingLog(level = 'info') {
  const lines: string[] = [];
  const destination = new Writable({
    write: (chunk, _encoding, done) => {
      lines.push(String(chunk));
      done();
    },
  });
  return { log: createLogger({ service: 'test', level, destination }), lines };
}

/** Returns what `work` throws. */
async function thrownBy(work: () => unknown): Promise<Error> {
  try {
    await work();
  } catch (error) {
    return error as Error;
  }
  throw new Error('nothing was thrown');
}

test('each entry is one line of JSON with service, level, time, and the fields of its child logger', () => {
  const { log, lines } = collectingLog();
  log.child({ request_id: 'r1' }).info({ text: 'two\nlines' }, 'hello');
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(/^[^\n]+\n$/);
  const entry = JSON.parse(String(lines[0]));
  expect(entry).toEqual({
    level: 'info',
    time: entry.time,
    service: 'test',
    request_id: 'r1',
    text: 'two\nlines',
    msg: 'hello',
  });
  expect(new Date(entry.time).toISOString()).toBe(entry.time);
});

test.each([
  ['debug', ['debug', 'info', 'warn', 'error']],
  ['warn', ['warn', 'error']],
  ['silent', []],
] as const)('at level %s these are written: %j', (level, expected) => {
  const { log, lines } = collectingLog(level);
  for (const each of ['debug', 'info', 'warn', 'error'] as const) log[each]('x');
  expect(lines.map((line) => JSON.parse(line).level)).toEqual(expected);
});

test('lines logged right before the process exits are written', async () => {
  const script = `import { createLogger, warnRepeatedly } from './packages/shared/src/telemetry/logger.ts';
    const log = createLogger({ service: 'test', level: 'info' });
    for (let line = 0; line < 2000; line += 1) log.info({ line }, 'last words');
    process.exit(0);`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module-typescript', '-e', script], {
    cwd: join(import.meta.dirname, '../../../..'),
  });
  const lines = stdout.trim().split('\n');
  expect(lines.map((line) => JSON.parse(line).line)).toEqual(Array.from({ length: 2_000 }, (_, line) => line));
});

describe('of an error', () => {
  test('its class, code and the frames of its stack are logged', async () => {
    const error = Object.assign(new RangeError(secret), { code: 'E_SOME' });
    const described = describeError(error);
    expect(described).toEqual({ type: 'RangeError', code: 'E_SOME', frames: expect.any(Array) });
    expect((described.frames as string[])[0]).toMatch(/^ {4}at .*logger\.test\.ts:\d+:\d+/);
  });

  test('of kind "unavailable" no frames are logged, nor of its causes, because an outage causes many', () => {
    const cause = Object.assign(new Error(secret), { code: 'ECONNREFUSED' });
    const { log, lines } = collectingLog();
    log.warn({ err: unavailable('The database is down', 1, cause) }, 'answered as unavailable');
    expect(JSON.parse(String(lines[0])).err).toEqual({
      type: 'DomainError',
      code: 'unavailable',
      message: 'The database is down',
      cause: { type: 'Error', code: 'ECONNREFUSED' },
    });
  });

  test('the message is logged when our own code or the system wrote it', async () => {
    expect(describeError(unavailable('The owner does not answer'))).toMatchObject({
      type: 'DomainError',
      code: 'unavailable',
      message: 'The owner does not answer',
    });
    const { readFile } = await import('node:fs/promises');
    expect(describeError(await thrownBy(() => readFile('/nowhere/at/all')))).toMatchObject({
      code: 'ENOENT',
      message: expect.stringContaining('/nowhere/at/all'),
    });
    const undefinedThing = undefined as unknown as { name: string };
    expect(describeError(await thrownBy(() => undefinedThing.name))).toMatchObject({
      type: 'TypeError',
      message: expect.stringContaining('undefined'),
    });
  });

  test("a JSON parser's message, which quotes the text, is not logged", async () => {
    const error = await thrownBy(() => JSON.parse(`{"email":${secret}}`));
    expect(error.message).toContain('ada');
    expect(JSON.stringify(describeError(error))).not.toContain('ada');
  });

  test('a message made to look like stack frames is not logged either', () => {
    for (const text of [`x\n    at ${secret}`, `x\n    at ${secret}:1:1`, `\n    at ${secret} (file:///a.ts:1:1)\n`]) {
      const described = describeError(new Error(text));
      expect(JSON.stringify(described)).not.toContain(secret);
      expect(described.frames).not.toHaveLength(0);
    }
  });

  test('its causes are described by the same rules, also in a cycle', () => {
    const inner = new Error(secret);
    const outer = new Error(secret, { cause: new SyntaxError(secret, { cause: inner }) });
    const described = describeError(outer);
    expect(described).toMatchObject({ type: 'Error', cause: { type: 'SyntaxError', cause: { type: 'Error' } } });
    expect(JSON.stringify(described)).not.toContain(secret);
    inner.cause = outer;
    expect(() => describeError(outer)).not.toThrow();
  });

  test.each([[secret], [42], [null], [undefined], [[secret]], [{ secret, toString: () => secret }]])(
    'a thrown value that is no error (%j) is logged without its content',
    (thrown) => {
      expect(JSON.stringify(describeError(thrown))).not.toContain(secret);
    },
  );

  test('its message is not logged when a line has no message of its own', () => {
    const { log, lines } = collectingLog();
    log.error(new Error(secret));
    log.error({ err: new Error(secret) });
    log.error({ err: new Error(secret), request_id: 'r1' }, 'said');
    expect(lines).toHaveLength(3);
    expect(lines.join()).not.toContain(secret);
    expect(JSON.parse(String(lines[0]))).toMatchObject({ level: 'error', err: { type: 'Error' } });
    expect(JSON.parse(String(lines[2]))).toMatchObject({ request_id: 'r1', msg: 'said' });
  });
});

describe('of an error of the database', () => {
  let testDatabase: TestDatabase;
  let database: Database;
  beforeAll(async () => {
    testDatabase = await createTestDatabase(['users']);
    database = await openDatabase({
      url: testDatabase.urlFor('users'),
      schema: 'users',
      entities: [OutboxMessage],
      migrations: import.meta.dirname,
    });
    await database.run({ text: 'create table cards (email text constraint cards_email_key unique, n int)' }, []);
    await database.run({ text: 'insert into cards values ($1)' }, [secret]);
  });
  afterAll(async () => {
    await database.close();
    await testDatabase.drop();
  });

  const execute = (sql: string) => database.transaction((em) => em.getConnection().execute(sql, []));

  test.each([
    ['a unique violation', `insert into cards values ('${secret}')`, '23505'],
    ['a wrong literal', `insert into cards (n) values ('${secret}')`, '22P02'],
    ['a syntax error', `insert into cards '${secret}'`, '42601'],
    [
      'a literal that looks like a stack frame',
      `insert into cards (n) values ('x\n    at ${secret} (a:1:1)')`,
      '22P02',
    ],
  ])('%s: SQLSTATE, class and frames, never the statement, the values or the detail', async (_what, sql, code) => {
    const error = await thrownBy(() => execute(sql));
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).toContain(secret); // otherwise the test would prove nothing
    const { log, lines } = collectingLog();
    log.error({ err: error }, 'failed');
    expect(lines.join()).not.toContain(secret);
    expect(lines.join()).not.toContain('insert into');
    const { err } = JSON.parse(String(lines[0]));
    expect(err).toMatchObject({ code, type: expect.any(String) });
    expect(err.frames.length).toBeGreaterThan(0);
  });

  test("MikroORM's own error, which repeats the stack of the first, is described by the same rules", async () => {
    await database.run(
      { text: 'create table outbox (id serial, event_id uuid, name text, subject text, data jsonb)' },
      [],
    );
    const row = { event_id: `x\n    at ${secret} (a:1:1)\n`, name: 'n', subject: '1', data: {} };
    const error = await thrownBy(() => database.transaction((em) => em.insert(OutboxMessage, row)));
    expect(`${error.message}${error.stack}`).toContain(secret);
    expect(describeError(error)).toMatchObject({ type: 'DriverException', code: '22P02' });
    expect(JSON.stringify(describeError(error))).not.toContain(secret);
  });

  test('the constraint is named', async () => {
    const error = await thrownBy(() => database.run({ text: 'insert into cards values ($1)' }, [secret]));
    expect(describeError(error)).toMatchObject({ code: '23505', constraint: 'cards_email_key' });
    expect(JSON.stringify(describeError(error))).not.toContain(secret);
  });
});

test('a warning that a loop repeats is written at most once in 10 s, and at once when it says something else', () => {
  const { log, lines } = collectingLog();
  const clock = jest.spyOn(performance, 'now');
  for (let second = 0; second < 30; second += 1) {
    clock.mockReturnValue(second * 1_000);
    warnRepeatedly(log, { code: second < 5 ? 'ECONNREFUSED' : '57P03' }, 'waiting');
  }
  clock.mockRestore();
  expect(lines.map((line) => JSON.parse(line).code)).toEqual(['ECONNREFUSED', '57P03', '57P03', '57P03']);
});

test('an error in a few words: the code and the address of its innermost cause, and never a message', async () => {
  const refused = Object.assign(new Error(`connect ${secret}`), { code: 'ECONNREFUSED', address: '::1', port: 1 });
  const both = Object.assign(new AggregateError([refused, refused], secret), { code: 'ECONNREFUSED' });
  expect(summarizeError(new Error(secret, { cause: both }))).toEqual({ code: 'ECONNREFUSED', address: '::1:1' });
  expect(summarizeError(Object.assign(new Error(secret), { code: '57P03' }))).toEqual({ code: '57P03' });
  expect(summarizeError(new TypeError(secret))).toEqual({ type: 'TypeError' });
  expect(summarizeError(undefined)).toEqual({ type: 'Error' });
});
