// What ENVIRONMENT=production refuses.
import { describe, expect, test } from '@jest/globals';
import { testKeys } from '@promopulse/testing/service';
import { z } from 'zod';
import { type Environment, listPublishedSecrets, loadConfig } from '../src/config.ts';
import { loadServiceConfig } from '../src/service/service-config.ts';

const ownKey = 'tq3C9Zr0v5hQ8sJmXw1YbKfLd7NgPeTzUoRiAy2Hc4E=';
const composeKey = 'r38NBF-tz3N6b2QXMx2u34O__spBE6ptuoFbr7WKw9Y=';
const own = 'Wq7-zVt2_kLp';

const load = (env: Environment, shape: z.ZodRawShape = {}): object =>
  loadServiceConfig(
    {
      ENVIRONMENT: 'production',
      AUTH: 'external',
      DATABASE_URL: `postgres://promopulse_users:${own}@db.example.com/promopulse`,
      AMQP_URL: `amqp://users:${own}@mq.example.com`,
      ...env,
    },
    { defaultPort: 8001, config: shape },
    { usesRabbit: true },
  );

function refusal(env: Environment, shape?: z.ZodRawShape): string {
  try {
    load(env, shape);
  } catch (error) {
    expect(error).toMatchObject({ name: 'ConfigError' });
    return (error as Error).message;
  }
  return '';
}

const keyShape = { KEYS: z.string() };
const refusedKeys = [
  ['the key of docker-compose.yml', composeKey],
  ['a key of the tests', testKeys[0]],
  ['the same bytes in other text', testKeys[2].replace('A=', 'B=')],
  ['a published key behind one of its own', `${ownKey}, ${composeKey}`],
  ['a key that is not random', `${'A'.repeat(43)}=`],
] as const;

test.each(refusedKeys)('%s is refused in production, in one message that shows no value', (_what, value) => {
  const message = refusal({ KEYS: value }, keyShape);
  expect(message).toContain('KEYS is refused with ENVIRONMENT=production: it has a published key');
  expect(message).toContain('npm run keys:generate');
  for (const key of value.split(', ')) expect(message).not.toContain(key);
});

test.each([
  'development-only',
  'guest',
  'Postgres',
  'promopulse',
  'changeme',
  'admin123!',
  'secret',
  '12345678',
  'users',
])('the password %s is refused in DATABASE_URL and in AMQP_URL, and the message shows neither', (password) => {
  const message = refusal({
    DATABASE_URL: `postgres://users:${password}@db.example.com/promopulse`,
    AMQP_URL: `amqps://users:${password}@mq.example.com`,
  });
  for (const name of ['DATABASE_URL', 'AMQP_URL']) {
    expect(message).toContain(
      `- ${name} is refused with ENVIRONMENT=production: it has a published or default password`,
    );
  }
  expect(message).not.toContain(`:${password}@`);
});

describe('a server without a password', () => {
  test.each<[string, Environment]>([
    ['PostgreSQL', { DATABASE_URL: 'postgres://users@db.example.com/promopulse' }],
    ['RabbitMQ with a user', { AMQP_URL: 'amqp://users@mq.example.com' }],
    ['RabbitMQ over TLS', { AMQP_URL: 'amqps://users@mq.example.com' }],
    ['RabbitMQ without a user, which means guest', { AMQP_URL: 'amqp://mq.example.com' }],
  ])('is refused: %s', (_what, env) => {
    expect(refusal(env)).toMatch(/- \w+_URL is refused with ENVIRONMENT=production: it has no password/);
  });

  test.each<[string, Environment]>([
    [
      'a client certificate of PostgreSQL',
      { DATABASE_URL: 'postgres://users@db.example.com/promopulse?sslcert=/a.pem' },
    ],
    ['a socket of PostgreSQL', { DATABASE_URL: 'postgres://users@/promopulse?host=/var/run/postgresql' }],
  ])('is accepted with %s', (_what, env) => {
    expect(refusal(env)).not.toContain('password');
  });
});

test.each(['production', 'PRODUCTION', 'prod'])('ENVIRONMENT=%s is production', (name) => {
  expect(refusal({ ENVIRONMENT: name, KEYS: composeKey }, keyShape)).toContain('KEYS is refused');
});

test.each(['development', 'test', 'staging', ''])('ENVIRONMENT=%j accepts everything', (name) => {
  expect(refusal({ ENVIRONMENT: name, AMQP_URL: 'amqp://guest:guest@127.0.0.1', KEYS: composeKey }, keyShape)).toBe('');
});

test('a long password of digits and signs alone is accepted in production', () => {
  expect(() =>
    load({ DATABASE_URL: 'postgres://users:4711-0815_2718-281828@db.example.com/promopulse' }),
  ).not.toThrow();
});

test('production accepts keys and passwords of its own', () => {
  expect(refusal({ KEYS: ownKey }, keyShape)).toBe('');
});

test.each(['off', 'optional'])('production refuses AUTH=%s, by which everyone may do everything', (AUTH) => {
  expect(refusal({ AUTH })).toContain(`AUTH=${AUTH} is refused with ENVIRONMENT=production`);
});

test('a command that does not read ENVIRONMENT itself refuses the same', () => {
  const schema = z.object({ BROKER_PASSWORD: z.string() });
  expect(() => loadConfig(schema, { ENVIRONMENT: 'production', BROKER_PASSWORD: 'development-only' })).toThrow(
    'BROKER_PASSWORD is refused with ENVIRONMENT=production: it is a published or default password',
  );
  expect(() => loadConfig(schema, { BROKER_PASSWORD: 'development-only' })).not.toThrow();
});

test('the names of published secrets are listed for a warning', () => {
  const config = {
    KEYS: [ownKey, composeKey],
    URL: `amqp://a:${own}@b`,
    DATABASE_URL: 'postgres://a:guest@b/c',
    PORT: 1,
  };
  expect(listPublishedSecrets(config)).toEqual(['KEYS', 'DATABASE_URL']);
});
