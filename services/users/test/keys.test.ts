import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startService } from '@promopulse/shared/service';
import { bodyOf, type Client, client, problem } from '@promopulse/testing/client';
import { startTestService, type TestService, testKeys } from '@promopulse/testing/service';
import { generateFernetKey } from '../src/personal-data/fernet.ts';
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
      'The environment is not complete:\n  - PII_ENCRYPTION_KEYS is not set\n  - PII_INDEX_KEY is not set',
    ],
    [
      'with a malformed key',
      { PII_ENCRYPTION_KEYS: secretLike },
      `The environment is not complete:\n  - PII_ENCRYPTION_KEYS is not valid: ${malformed}`,
    ],
    [
      'with a malformed key among good ones',
      { PII_ENCRYPTION_KEYS: `${first},${secretLike}` },
      `The environment is not complete:\n  - PII_ENCRYPTION_KEYS is not valid: ${malformed}`,
    ],
    [
      'with a comma too many',
      { PII_ENCRYPTION_KEYS: `${first},` },
      `The environment is not complete:\n  - PII_ENCRYPTION_KEYS is not valid: ${malformed}`,
    ],
    [
      'with a malformed index key',
      { PII_INDEX_KEY: secretLike },
      `The environment is not complete:\n  - PII_INDEX_KEY is not valid: ${malformedIndex}`,
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
      message: 'The environment is not complete:\n  - PII_INDEX_KEY and PII_INDEX_KEY_FILE are both set: keep one',
    });
  });
});

test('an index made with another key finds nothing: the index key is not rotated like the others', async () => {
  await createUser(service.api, { email: 'indexed@example.com' });
  await withKeys({ PII_INDEX_KEY: generateFernetKey() }, async (api) => {
    expect((await api.get('/users?email=indexed@example.com')).body.total).toBe(0);
  });
});
