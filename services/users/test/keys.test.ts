import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { startService } from '@promopulse/shared/service';
import { childEnvironment } from '@promopulse/testing/child-environment';
import { bodyOf, type Client, client, problem } from '@promopulse/testing/client';
import { startTestService, type TestService, testKeys } from '@promopulse/testing/service';
import { generateFernetKey } from '../src/personal-data/fernet.ts';
import { createPersonalData } from '../src/personal-data/personal-data.ts';
import { users } from '../src/service.ts';
import { createUser, keys, taken } from './wire.ts';

const [first, second, index] = testKeys;
let service: TestService;
beforeAll(async () => {
  service = await startTestService(users, { ...keys, PII_ENCRYPTION_KEYS: first });
});
afterAll(() => service?.close());

/** A second instance of the same service on the same database, as at a rolling restart. */
async function withKeys<Result>(env: Record<string, string>, work: (api: Client) => Promise<Result>) {
  const other = await startService(users, { ...service.env, ...env });
  try {
    return await work(client(other.url));
  } finally {
    await other.close();
  }
}

describe('rotating the encryption key', () => {
  test('what the old key encrypted is read, found and kept unique under the new one', async () => {
    const user = await createUser(service.api, { email: 'Old@example.com', phone: '+14155550123' });
    await withKeys({ PII_ENCRYPTION_KEYS: `${second},${first}` }, async (api) => {
      expect((await api.get(`/users/${user.id}`)).body).toEqual(user);
      expect((await api.get('/users?email=old@example.com')).body).toEqual({ items: [user], total: 1 });
      expect(bodyOf(await api.post('/users', { first_name: 'A', last_name: 'B', email: 'OLD@example.com' }))).toEqual(
        taken,
      );
    });
  });

  test('what the new key encrypted is read by an instance that has it second, and not by one that lacks it', async () => {
    const user = await withKeys({ PII_ENCRYPTION_KEYS: `${second}, ${first}` }, (api) =>
      createUser(api, { phone: '+14155550123' }),
    );
    await withKeys({ PII_ENCRYPTION_KEYS: `${first},${second}` }, async (api) => {
      expect((await api.get(`/users/${user.id}`)).body).toEqual(user);
    });
    const answer = await service.api.get(`/users/${user.id}`);
    expect(answer.status).toBe(500);
    expect(bodyOf(answer)).toEqual(problem(500, 'internal_error', 'The server failed. Report the request_id.'));
    // But it can be replaced.
    const replaced = await service.api.patch(`/users/${user.id}`, { email: 'replaced@example.com', phone: null });
    expect(replaced).toMatchObject({ status: 200, body: { email: 'replaced@example.com' } });
  });
});

describe('the service does not start', () => {
  const malformed = 'must be Fernet keys (make one with npm run keys:generate), separated by commas';
  const malformedIndex = 'must be 32 bytes in base64url (make it with npm run keys:generate)';
  const secretLike = `${first.slice(0, 20)}!!!`;

  test.each<[string, Record<string, string>, string]>([
    [
      'without any key',
      { PII_ENCRYPTION_KEYS: '', PII_INDEX_KEY: '' },
      'The environment is not valid:\n  - PII_ENCRYPTION_KEYS is not set\n  - PII_INDEX_KEY is not set',
    ],
    [
      'with a malformed key',
      { PII_ENCRYPTION_KEYS: secretLike },
      `The environment is not valid:\n  - PII_ENCRYPTION_KEYS is not valid: ${malformed}`,
    ],
    [
      'with a malformed key among good ones',
      { PII_ENCRYPTION_KEYS: `${first},${secretLike}` },
      `The environment is not valid:\n  - PII_ENCRYPTION_KEYS is not valid: ${malformed}`,
    ],
    [
      'with a comma too many',
      { PII_ENCRYPTION_KEYS: `${first},` },
      `The environment is not valid:\n  - PII_ENCRYPTION_KEYS is not valid: ${malformed}`,
    ],
    [
      'with a malformed index key',
      { PII_INDEX_KEY: secretLike },
      `The environment is not valid:\n  - PII_INDEX_KEY is not valid: ${malformedIndex}`,
    ],
    [
      'with an index key that also encrypts',
      { PII_ENCRYPTION_KEYS: `${second},${index}` },
      'PII_INDEX_KEY must be a key of its own, not one of PII_ENCRYPTION_KEYS',
    ],
    [
      'with an index key that also encrypts, with other unused last bits',
      { PII_ENCRYPTION_KEYS: index.replace('A=', 'B=') },
      'PII_INDEX_KEY must be a key of its own, not one of PII_ENCRYPTION_KEYS',
    ],
  ])('%s, and says so without showing a key', async (_case, env, message) => {
    await expect(withKeys(env, async () => 'started')).rejects.toMatchObject({ name: 'ConfigError', message });
    for (const key of [...testKeys, secretLike]) expect(message).not.toContain(key);
  });

  test('with a key given both directly and by file', async () => {
    await expect(
      withKeys({ PII_INDEX_KEY_FILE: '/run/secrets/index-key' }, async () => 'started'),
    ).rejects.toMatchObject({
      message: 'The environment is not valid:\n  - PII_INDEX_KEY and PII_INDEX_KEY_FILE are both set: keep one',
    });
  });
});

test('an index made with another key finds nothing: the index key is not rotated like the others', async () => {
  const user = await createUser(service.api, { email: 'indexed@example.com' });
  const indexUnder = (key: string) =>
    createPersonalData({ PII_ENCRYPTION_KEYS: [first], PII_INDEX_KEY: key }).indexOf(user.email);
  const [row] = await service.sql('select email_index from users.users where id = $1', [user.id]);
  expect(row.email_index).toBe(indexUnder(index));
  expect(row.email_index).not.toBe(indexUnder(generateFernetKey()));
});

describe('the keys of the data', () => {
  const other = generateFernetKey();
  const lacksKey = { name: 'ConfigError', message: expect.stringMatching(/^PII_ENCRYPTION_KEYS lacks .* former key/) };
  const otherIndex = { name: 'ConfigError', message: expect.stringMatching(/^PII_INDEX_KEY is not .* former key/) };
  const fingerprints = (): Promise<{ purpose: string; fingerprint: string }[]> =>
    data.sql('select purpose, fingerprint from users.key_fingerprints order by purpose, created_at');
  let data: TestService;
  /** Starts and stops a process with other keys on the same data. */
  const restart = async (env: Record<string, string>): Promise<void> =>
    (await startService(users, { ...data.env, ...env })).close();
  beforeEach(async () => {
    data = await startTestService(users, { ...keys, PII_ENCRYPTION_KEYS: first });
  });
  afterEach(() => data?.close());

  test('another index key stops the start, with or without users, and the data stay as they are', async () => {
    await expect(restart({ PII_INDEX_KEY: other })).rejects.toMatchObject(otherIndex);
    const user = await createUser(data.api);
    await expect(restart({ PII_INDEX_KEY: other })).rejects.toMatchObject(otherIndex);
    await restart({});
    expect((await data.api.get(`/users/${user.id}`)).body).toEqual(user);
  });

  test('a start without the encryption key of the data is refused, whatever other keys it has', async () => {
    await createUser(data.api);
    for (const encryption of [other, second, `${other},${second}`]) {
      await expect(restart({ PII_ENCRYPTION_KEYS: encryption })).rejects.toMatchObject(lacksKey);
    }
  });

  test('both rotations of the documents work: "old,new" then "new,old", and "new,old" at once', async () => {
    for (const list of [
      `${first},${second}`,
      `${second},${first}`,
      `${first},${second}`,
      `${other},${first},${second}`,
    ]) {
      await restart({ PII_ENCRYPTION_KEYS: list });
    }
    await expect(restart({ PII_ENCRYPTION_KEYS: `${other},${first}` })).rejects.toMatchObject(lacksKey);
    await expect(restart({ PII_ENCRYPTION_KEYS: first })).rejects.toMatchObject(lacksKey);
  });

  test('a key that was never the first may go', async () => {
    await restart({ PII_ENCRYPTION_KEYS: `${first},${second}` });
    await restart({ PII_ENCRYPTION_KEYS: first });
  });

  test('a fingerprint is neither a key nor derived like the index of an email', async () => {
    const rows = await fingerprints();
    expect(rows.map(({ purpose }) => purpose)).toEqual(['encryption', 'index']);
    for (const { fingerprint } of rows) expect(fingerprint).toMatch(/^[0-9a-f]{64}$/);
    for (const key of testKeys) {
      for (const encoding of ['hex', 'base64url'] as const) {
        expect(JSON.stringify(rows)).not.toContain(Buffer.from(key, 'base64url').toString(encoding).slice(0, 20));
      }
    }
  });

  test('of processes that start at once with different keys on an empty schema, those with one pair start', async () => {
    await data.sql('delete from users.key_fingerprints');
    const pairs = [first, second, other].map((key) => ({
      PII_ENCRYPTION_KEYS: key,
      PII_INDEX_KEY: generateFernetKey(),
    }));
    const starts = await Promise.allSettled([...pairs, ...pairs].map(restart));
    expect(starts.filter(({ status }) => status === 'fulfilled')).toHaveLength(2);
    expect(await fingerprints()).toHaveLength(2);
  });

  describe('of a former release, which stored no fingerprints', () => {
    beforeEach(async () => {
      await createUser(data.api, { phone: '+14155550123' });
      await restart({ PII_ENCRYPTION_KEYS: `${second},${first}` }); // both keys have encrypted
      await data.sql('delete from users.key_fingerprints');
    });

    test('are refused to other keys by trying, and nothing is stored', async () => {
      await expect(restart({ PII_ENCRYPTION_KEYS: other })).rejects.toMatchObject(lacksKey);
      await expect(restart({ PII_INDEX_KEY: other })).rejects.toMatchObject(otherIndex);
      expect(await fingerprints()).toEqual([]);
    });

    test('are accepted with the right keys, all of which are needed from then on', async () => {
      await restart({ PII_ENCRYPTION_KEYS: `${second},${first}` });
      expect(await fingerprints()).toHaveLength(3);
      await expect(restart({ PII_ENCRYPTION_KEYS: second })).rejects.toMatchObject(lacksKey);
    });
  });

  describe('npm run keys:accept', () => {
    const command = new URL('../src/personal-data/accept-keys.ts', import.meta.url).pathname;
    const accept = (env: Record<string, string>) =>
      promisify(execFile)(process.execPath, [command], {
        env: { ...childEnvironment, ...data.env, ...env },
      }).then(
        ({ stdout }) => ({ code: 0, text: stdout }),
        ({ code, stderr }) => ({ code, text: stderr }),
      );

    test('lets an old key go when no user needs it, and not before', async () => {
      const user = await createUser(data.api, { phone: '+14155550123' });
      await createUser(data.api);
      await restart({ PII_ENCRYPTION_KEYS: `${second},${first}` });
      expect(await accept({ PII_ENCRYPTION_KEYS: second })).toEqual({
        code: 1,
        text: expect.stringContaining('Nothing was changed. Of 2 users, 2 cannot be decrypted'),
      });
      await withKeys({ ...data.env, PII_ENCRYPTION_KEYS: `${second},${first}` }, async (api) => {
        await api.patch(`/users/${user.id}`, { email: user.email, phone: null });
      });
      expect(await accept({ PII_ENCRYPTION_KEYS: `${second},${first}` })).toMatchObject({
        text: 'All 2 users can be read. Needed: 2 of 2 encryption keys.\n',
      });
      await data.sql('delete from users.users where id <> $1', [user.id]);
      expect(await accept({ PII_ENCRYPTION_KEYS: `${second},${first}` })).toMatchObject({
        text: 'All 1 users can be read. Needed: 1 of 2 encryption keys.\n',
      });
      await restart({ PII_ENCRYPTION_KEYS: second });
    });

    test('refuses another index key while there are users', async () => {
      await createUser(data.api);
      const refused = await accept({ PII_INDEX_KEY: other });
      expect(refused).toEqual({ code: 1, text: expect.stringContaining('1 were indexed with another PII_INDEX_KEY') });
      await data.sql('delete from users.users');
      expect(await accept({ PII_INDEX_KEY: other })).toMatchObject({ code: 0 });
      await restart({ PII_INDEX_KEY: other });
    });

    test('names a variable that is missing, and shows no key', async () => {
      const { code, text } = await accept({ PII_INDEX_KEY: '' });
      expect({ code, text }).toEqual({ code: 2, text: expect.stringContaining('PII_INDEX_KEY is not set') });
      expect(text).not.toContain(first);
    });
  });
});
