// AUTH and ACTOR_KEYS of a service: what stops its start, and what the message says.
import { randomBytes } from 'node:crypto';
import { expect, test } from '@jest/globals';
import type { Environment } from '../../../src/config.ts';
import { loadServiceConfig } from '../../../src/service/service-config.ts';

const key = (): string => randomBytes(32).toString('base64url');
const database = { DATABASE_URL: 'postgres://promopulse_users:kQ3-x9Vw@db/app' };

const load = (env: Environment) =>
  loadServiceConfig({ ...database, ...env }, { defaultPort: 8001, config: {} }, { usesRabbit: false });

function refusal(env: Environment): string {
  try {
    load(env);
  } catch (error) {
    expect(error).toMatchObject({ name: 'ConfigError' });
    return (error as Error).message;
  }
  return 'accepted';
}

test('nobody is asked by default, and no key is needed', () => {
  expect(load({})).toMatchObject({ AUTH: 'off', ACTOR_KEYS: '' });
  expect(load({ AUTH: '', ACTOR_KEYS: '' })).toMatchObject({ AUTH: 'off', ACTOR_KEYS: '' });
});

test.each(['optional', 'required'])('AUTH=%s needs the keys', (AUTH) => {
  expect(refusal({ AUTH })).toBe(`ACTOR_KEYS is not set, and AUTH=${AUTH} needs it: the same keys as in the gateway`);
  expect(load({ AUTH, ACTOR_KEYS: `${key()},${key()}` })).toMatchObject({ AUTH });
});

test('a malformed key, or another mode, stops the start; no message has a value', () => {
  const secret = randomBytes(20).toString('base64url');
  for (const ACTOR_KEYS of [secret, `${key()},${secret}`, `${key()},`, randomBytes(32).toString('hex')]) {
    const message = refusal({ AUTH: 'required', ACTOR_KEYS });
    expect(message).toContain('ACTOR_KEYS is not valid: must be 32 bytes each, in base64url, separated by commas');
    expect(message).not.toContain(ACTOR_KEYS.slice(0, 10));
  }
  expect(refusal({ AUTH: 'on' })).toContain('AUTH is not valid');
});

test.each(['production', 'prod'])(
  'with ENVIRONMENT=%s a service is not open to everybody by accident',
  (ENVIRONMENT) => {
    for (const AUTH of [undefined, 'off', 'optional']) {
      const message = refusal({ ENVIRONMENT, AUTH, ACTOR_KEYS: key() });
      expect(message).toMatch(/^AUTH=(off|optional) is refused with ENVIRONMENT=production.*AUTH=external/);
    }
    expect(load({ ENVIRONMENT, AUTH: 'external' })).toMatchObject({ AUTH: 'external' });
    expect(load({ ENVIRONMENT, AUTH: 'required', ACTOR_KEYS: key() })).toMatchObject({ AUTH: 'required' });
  },
);

test('with ENVIRONMENT=production a published key is refused', () => {
  const published = Buffer.from(Array.from({ length: 32 }, (_each, index) => index)).toString('base64url');
  const message = refusal({ ENVIRONMENT: 'production', AUTH: 'required', ACTOR_KEYS: `${key()},${published}` });
  expect(message).toContain('ACTOR_KEYS is refused with ENVIRONMENT=production: it has a published key');
});
