// Which user an email finds, and who gets it: in a new database, and in one in which a release before case folding has
// written, and may still write. That release took ı for i, and ẞ for another letter than ß.

import { execFile } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { domainToASCII } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type RunningService, startService } from '@promopulse/shared/service';
import { childEnvironment } from '@promopulse/testing/child-environment';
import { bodyOf, type Client, client } from '@promopulse/testing/client';
import { startTestService, type TestService } from '@promopulse/testing/service';
import { createPersonalData } from '../src/personal-data/personal-data.ts';
import { users } from '../src/service.ts';
import { ada, createUser, keys, retryOn503, taken } from './wire.ts';

let service: TestService;
let running: RunningService | undefined;
let api: Client;
beforeAll(async () => {
  service = await startTestService(users, keys);
  api = service.api;
});
afterAll(async () => {
  await running?.close();
  await service?.close();
});

const { encrypt } = createPersonalData({
  PII_ENCRYPTION_KEYS: keys.PII_ENCRYPTION_KEYS.split(','),
  PII_INDEX_KEY: keys.PII_INDEX_KEY,
});
const find = async (email: string) => (await api.get(`/users?email=${encodeURIComponent(email)}`)).body.items;
const idsOf = async (email: string) => (await find(email)).map(({ id }: { id: number }) => id);
const post = (email: string) => retryOn503(() => api.post('/users', { ...ada, email }));
const indexOf = async (id: number): Promise<string> =>
  (await service.sql('select email_index from users.users where id = $1', [id]))[0].email_index;

/** As the releases before computed it. */
function formerIndex(email: string): string {
  const at = email.lastIndexOf('@');
  const name = email.slice(0, at).normalize('NFC').toUpperCase().toLowerCase().replaceAll('ς', 'σ').normalize('NFC');
  const key = Buffer.from(keys.PII_INDEX_KEY, 'base64url');
  return createHmac('sha256', key)
    .update(`${name}@${domainToASCII(email.slice(at + 1))}`)
    .digest('hex');
}

/** Creates a user as the releases before did. @returns undefined where they answered 409 */
async function createFormerly(email: string, phone: string | null = null): Promise<number | undefined> {
  const rows = await service.sql(
    `insert into users.users (first_name, last_name, email_encrypted, email_index, phone_encrypted)
     select 'Former', 'User', $1, $2::text, $3 where not exists (select from users.users where email_index = $2) returning id`,
    [encrypt(email), formerIndex(email), phone && encrypt(phone)],
  );
  return rows[0]?.id;
}

describe('in a new database', () => {
  test('ilker and ılker are two people, each found by the own address only', async () => {
    const ilker = await createUser(api, { email: 'ilker@example.com', phone: '+14155550123' });
    expect(await find('ılker@example.com')).toEqual([]);
    const dotless = await createUser(api, { email: 'ılker@example.com' });
    expect(await find('ılker@example.com')).toEqual([dotless]);
    expect(await find('ILKER@example.com')).toEqual([ilker]);
    expect(bodyOf(await post('ILKER@example.com'))).toEqual(taken);
    expect(bodyOf(await post('ılKER@example.com'))).toEqual(taken);
  });

  test.each([
    ['umlauts', 'jürgen.äöü@a.de', 'JÜRGEN.ÄÖÜ@A.de'],
    ['sharp s and ss', 'straße@b.de', 'STRASSE@b.de'],
    ['the capital sharp s and ss', 'STRAẞE@c.de', 'strasse@c.de'],
    ['both sharp s', 'gauẞ@d.de', 'gauß@d.de'],
    ['the long s and s', 'ſam@e.de', 'sam@e.de'],
    ['the Kelvin sign and k', '\u212aate@f.de', 'kate@f.de'],
    ['the Angstrom sign and å', '\u212bke@g.de', 'åke@g.de'],
    ['the Ohm sign and ω', '\u2126@h.de', 'ω@h.de'],
    ['both small sigmas', 'οδος@i.de', 'ΟΔΟΣ@i.de'],
    ['the dotted capital I and its small letters', 'İlker@j.de', 'i\u0307lker@j.de'],
    ['the iota below and the iota beside', 'ᾳ@k.de', 'αι@k.de'],
    ['the ligature and its letters', 'ﬁnn@l.de', 'FINN@l.de'],
    ['the titlecase digraph and the small one', 'ǅ@m.de', 'ǆ@m.de'],
    ['both cases of Cherokee', 'ᏣᎳᎩ@n.de', 'ꮳꮃꭹ@n.de'],
    ['both cases of Deseret', '𐐀@o.de', '𐐨@o.de'],
    ['letter and mark, composed and not', 'É@p.de', 'e\u0301@p.de'],
    ['the letter case of an international domain', 'a@BÜCHER.de', 'A@bücher.DE'],
  ])('%s are one: found, and taken', async (_letters, one, other) => {
    const user = await createUser(api, { email: one });
    for (const email of [one, other]) {
      expect(await idsOf(email)).toEqual([user.id]);
      expect(bodyOf(await post(email))).toEqual(taken);
    }
  });

  test.each([
    ['i and ı', 'ipek@q.de', 'ıpek@q.de'],
    ['I and ı', 'IRMAK@r.de', 'ırmak@r.de'],
    ['İ and i', 'İnci@s.de', 'inci@s.de'],
    ['İ and ı', 'İdil@t.de', 'ıdil@t.de'],
    ['full-width letters and others', 'ａ@u.de', 'a@u.de'],
    ['Latin a and Cyrillic а', 'anna@v.de', '\u0430nn\u0430@v.de'],
    ['ß and ss in the domain', 'a@maße.de', 'a@masse.de'],
    ['ı and i in the domain', 'a@kadı.de', 'a@kadi.de'],
  ])('%s are two: not found, and free', async (_letters, one, other) => {
    const first = await createUser(api, { email: one });
    expect(await idsOf(other)).toEqual([]);
    const second = await createUser(api, { email: other });
    expect([await idsOf(one), await idsOf(other)]).toEqual([[first.id], [second.id]]);
  });

  test('a user changes from i to ı and back, and frees what it leaves', async () => {
    const { id } = await createUser(api, { email: 'isil@w.de' });
    for (const [email, left] of [
      ['ısıl@w.de', 'isil@w.de'],
      ['isil@w.de', 'ısıl@w.de'],
    ] as const) {
      expect((await api.patch(`/users/${id}`, { email })).status).toBe(200);
      expect([await idsOf(email), await idsOf(left)]).toEqual([[id], []]);
    }
  });

  test('to an address with ı that is taken is 409, and of a user that is not there 404', async () => {
    await createUser(api, { email: 'kız@w.de' });
    const { id } = await createUser(api);
    expect((await api.patch(`/users/${id}`, { email: 'KıZ@w.de' })).status).toBe(409);
    expect((await api.patch('/users/99999', { email: 'kız@w.de' })).status).toBe(404);
  });
});

describe('after the release before', () => {
  const logged: string[] = [];
  let former: { dotless: number; sharp: number; plain: number };

  beforeAll(async () => {
    await service.stop();
    // The schema and the data as that release has left them.
    await service.sql('drop table users.email_indexing');
    await service.sql(`delete from users.mikro_orm_migrations where name like '%email_indexing%'`);
    await service.sql('delete from users.users');
    former = {
      dotless: Number(await createFormerly('ılker@example.com', '+14155550123')),
      sharp: Number(await createFormerly('WEIẞ@example.com')),
      plain: Number(await createFormerly('ada@example.com')),
    };
    const logDestination = { write: (line: string) => void logged.push(line) };
    running = await startService(users, { ...service.env, LOG_LEVEL: 'info' }, { logDestination });
    api = client(running.url);
  });

  test('the log names the command, and no user is found by the address of another one', async () => {
    expect(logged.filter((line) => line.includes('npm run emails:reindex'))).toHaveLength(1);
    expect(await idsOf('ilker@example.com')).toEqual([]);
    expect(await idsOf('ılker@example.com')).toEqual([former.dotless]);
    expect(await idsOf('WEIẞ@example.com')).toEqual([former.sharp]);
    expect(await idsOf('ADA@example.com')).toEqual([former.plain]);
    for (const email of ['ılker@example.com', 'WEIẞ@example.com', 'ADA@example.com']) {
      expect(bodyOf(await post(email))).toEqual(taken);
    }
  });

  test('the address that was taken for another is free, and then neither release gives it or the other again', async () => {
    const { status, body: ilker } = await post('ilker@example.com');
    expect(status).toBe(201);
    expect([await idsOf('ilker@example.com'), await idsOf('ılker@example.com')]).toEqual([
      [ilker.id],
      [former.dotless],
    ]);
    for (const email of ['ilker@example.com', 'ılker@example.com']) {
      expect(bodyOf(await post(email))).toEqual(taken);
      expect(await createFormerly(email)).toBeUndefined();
    }
  });

  test('what this release creates or changes, the release before finds and does not give again', async () => {
    const { id } = await createUser(api, { email: 'ışık@example.com' });
    expect(await indexOf(id)).toBe(formerIndex('ışık@example.com'));
    const changed = await createUser(api);
    await api.patch(`/users/${changed.id}`, { email: 'ÇALIŞKAN.ı@example.com' });
    for (const email of ['ışık@example.com', 'çalişkan.ı@example.com']) {
      expect(await createFormerly(email)).toBeUndefined();
    }
  });

  test('a user with ẞ that writes its email in another way is found by that', async () => {
    const id = Number(await createFormerly('GROẞ@example.com'));
    for (const email of ['groẞ@example.com', 'gross@example.com', 'GROSS@example.com', 'groß@example.com']) {
      expect((await api.patch(`/users/${id}`, { email })).body).toMatchObject({ id, email });
      expect(await idsOf(email)).toEqual([id]);
    }
  });

  test('what the release before writes meanwhile is found and is not given again', async () => {
    const dotless = await createFormerly('ıtır@example.com');
    expect(await idsOf('ıtır@example.com')).toEqual([dotless]);
    expect(await idsOf('itir@example.com')).toEqual([]);
    expect(bodyOf(await post('ITıR@example.com'.replace('I', 'ı')))).toEqual(taken);
    const { id } = await createUser(api);
    expect((await api.patch(`/users/${id}`, { email: 'itir@example.com' })).status).toBe(200);
    expect([await idsOf('ıtır@example.com'), await idsOf('itir@example.com')]).toEqual([[dotless], [id]]);
  });

  test('of 40 creations of two addresses with one former index at once, one of each wins', async () => {
    const emails = Array.from({ length: 40 }, (_, n) => (n % 2 ? 'irem@example.com' : 'ırem@example.com'));
    const answers = await Promise.all(emails.map(post));
    const statuses = (email: string) =>
      answers
        .filter((_, n) => emails[n] === email)
        .map(({ status }) => status)
        .sort();
    for (const email of new Set(emails)) expect(statuses(email)).toEqual([201, ...Array(19).fill(409)]);
    expect(await find('irem@example.com')).toHaveLength(1);
    expect(await find('ırem@example.com')).toHaveLength(1);
  });

  describe('npm run emails:reindex', () => {
    const command = new URL('../src/personal-data/reindex-emails.ts', import.meta.url).pathname;
    const reindex = (env: Record<string, string> = {}) =>
      promisify(execFile)(process.execPath, [command], {
        env: { ...childEnvironment, ...service.env, ...env },
      }).then(
        ({ stdout }) => ({ code: 0, text: stdout }),
        ({ code, stdout, stderr }) => ({ code, text: stdout + stderr }),
      );
    const sameEmail = (first: number, other: number) =>
      `Users ${first}, ${other} have one email, letter case aside. It finds user ${first}; the others are found by their ids.`;
    let younger: number;
    /** A process starts slowly on a busy machine. */
    const commandTimeoutMs = 120_000;

    test(
      'changes nothing with other keys',
      async () => {
        const before = await service.sql('select id, email_index from users.users order by id');
        const [key] = keys.PII_ENCRYPTION_KEYS.split(',') as [string];
        expect(await reindex({ PII_INDEX_KEY: `${key.slice(0, -3)}A8=` })).toMatchObject({ code: 2 });
        expect(await service.sql('select id, email_index from users.users order by id')).toEqual(before);
      },
      commandTimeoutMs,
    );

    test(
      'gives every user the index of its email, and names users that now have one email by ids only',
      async () => {
        younger = (await createUser(api, { email: 'weiss@example.com' })).id;
        const versions = await service.sql('select id, version, updated_at from users.users order by id');
        const { code, text } = await reindex();
        expect([code, text]).toEqual([0, expect.stringContaining(sameEmail(former.sharp, younger))]);
        expect(text).not.toMatch(/example|ılker|wei/i);
        const { indexOf: own } = createPersonalData({
          PII_ENCRYPTION_KEYS: keys.PII_ENCRYPTION_KEYS.split(','),
          PII_INDEX_KEY: keys.PII_INDEX_KEY,
        });
        expect(await indexOf(former.dotless)).toBe(own('ılker@example.com'));
        expect(await indexOf(former.sharp)).toBe(own('weiss@example.com'));
        expect(await service.sql('select id, version, updated_at from users.users order by id')).toEqual(versions);
        for (const email of ['weiß@example.com', 'WEIẞ@example.com', 'weiss@example.com']) {
          expect(await idsOf(email)).toEqual([former.sharp]);
          expect(bodyOf(await post(email))).toEqual(taken);
        }
        const shown = (await api.get(`/users/${younger}`)).body;
        expect(shown.email).toBe('weiss@example.com');
        const { first_name, last_name, email } = shown;
        expect((await api.patch(`/users/${younger}`, { first_name, last_name, email })).body).toEqual(shown);
      },
      commandTimeoutMs,
    );

    test(
      'says so again as long as it is so, and changes nothing',
      async () => {
        const { text } = await reindex();
        expect(text).toMatch(/^Read \d+ users\. 0 of them got another index\.$/m);
        expect(text).toContain(sameEmail(former.sharp, younger));
      },
      commandTimeoutMs,
    );

    test(
      'gives the index to the other user when the first has left the email',
      async () => {
        await api.patch(`/users/${former.sharp}`, { email: 'other@example.com' });
        expect((await reindex()).text).toMatch(/^Read \d+ users\. 1 of them got another index\.\n$/);
        expect(await idsOf('weiss@example.com')).toEqual([younger]);
      },
      commandTimeoutMs,
    );

    test(
      'ends the time of two indexes: new users have their own',
      async () => {
        const { id } = await createUser(api, { email: 'ıhlamur@example.com' });
        expect(await indexOf(id)).not.toBe(formerIndex('ıhlamur@example.com'));
        expect(await createUser(api, { email: 'ihlamur@example.com' })).toMatchObject({ email: 'ihlamur@example.com' });
      },
      commandTimeoutMs,
    );

    test(
      'names the users that it cannot read, and does the others',
      async () => {
        const unreadable = Number(await createFormerly('lost@example.com'));
        await service.sql(`update users.users set email_encrypted = 'gAAAAA' where id = $1`, [unreadable]);
        const late = Number(await createFormerly('kadın@example.com'));
        const { code, text } = await reindex();
        expect([code, text]).toEqual([1, expect.stringContaining(`the emails of the users ${unreadable}: nothing`)]);
        expect(await idsOf('kadın@example.com')).toEqual([late]);
        expect(await idsOf('kadin@example.com')).toEqual([]);
      },
      commandTimeoutMs,
    );

    test(
      'leaves data that keys:accept can read',
      async () => {
        await service.sql(`delete from users.users where email_encrypted = 'gAAAAA'`);
        const accept = new URL('../src/personal-data/accept-keys.ts', import.meta.url).pathname;
        const env = { ...childEnvironment, ...service.env };
        const { stdout } = await promisify(execFile)(process.execPath, [accept], { env });
        expect(stdout).toMatch(/^All \d+ users can be read/);
      },
      commandTimeoutMs,
    );
  });
});
