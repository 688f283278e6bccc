// When the gateway does not start, because its callers would not be asked, or could not be believed.
import { randomBytes } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { oidcSettingsOf } from '../src/callers/oidc-config.ts';
import { loadGatewayConfig } from '../src/config.ts';
import { environmentFor } from './stubs.ts';

const ACTOR_KEYS = randomBytes(32).toString('base64url');
const base = environmentFor([]);
const upstreamUrls = {
  ...{ USERS_URL: 'http://a:1', PROMOTIONS_URL: 'http://a:1', SUBSCRIPTIONS_URL: 'http://a:1' },
  ...{ USERS_INTERNAL_URL: '', PROMOTIONS_INTERNAL_URL: '', SUBSCRIPTIONS_INTERNAL_URL: '' },
};
const reasonOf = (env: Record<string, string>): string | undefined => {
  try {
    loadGatewayConfig({ ...base, ...upstreamUrls, ...env });
    return undefined;
  } catch (error) {
    expect((error as Error).name).toBe('ConfigError');
    return (error as Error).message;
  }
};

describe('AUTH', () => {
  test.each([
    { AUTH: 'off' },
    { AUTH: 'external', ENVIRONMENT: 'production' },
    { AUTH: 'optional', ACTOR_KEYS },
    { AUTH: 'required', ACTOR_KEYS, ENVIRONMENT: 'production' },
  ])('%j is accepted', (env) => expect(reasonOf(env as Record<string, string>)).toBeUndefined());

  test.each(['off', 'optional'])('%s is refused in production: everyone may do everything', (AUTH) => {
    expect(reasonOf({ AUTH, ACTOR_KEYS, ENVIRONMENT: 'production' })).toContain(
      `AUTH=${AUTH} is refused with ENVIRONMENT=production`,
    );
  });

  test.each(['optional', 'required'])('%s needs ACTOR_KEYS', (AUTH) => {
    expect(reasonOf({ AUTH })).toContain(`ACTOR_KEYS is not set, and AUTH=${AUTH} needs it`);
  });

  test('another value is refused', () => expect(reasonOf({ AUTH: 'on' })).toContain('AUTH is not valid'));
});

describe('ACTOR_KEYS', () => {
  test.each(['short', `${ACTOR_KEYS},short`, ACTOR_KEYS.slice(1)])('%j is refused, and not shown', (text) => {
    const reason = reasonOf({ AUTH: 'required', ACTOR_KEYS: text });
    expect(reason).toContain('ACTOR_KEYS is not valid: must be 32 bytes each');
    expect(reason).not.toContain(text);
  });

  test('the published one of docker-compose.auth.yml is refused in production', () => {
    const published = 'X0Lj8Jy58mMff1RHdIaEUKle9cGNflAA9Z0iJnl6baE=';
    const env = { AUTH: 'required', ACTOR_KEYS: published, ENVIRONMENT: 'production' };
    expect(reasonOf(env)).toContain('ACTOR_KEYS is refused with ENVIRONMENT=production: it has a published key');
  });
});

describe('OIDC', () => {
  const oidc = {
    ...{ AUTH: 'required', ACTOR_KEYS, OIDC_ISSUER: 'https://login.example.com', OIDC_AUDIENCE: 'promopulse' },
    OIDC_SUBJECT_KEY: randomBytes(32).toString('base64url'),
  };

  test('an issuer, an audience and a key for the ids of subjects are enough', () =>
    expect(reasonOf(oidc)).toBeUndefined());

  test('an issuer without an audience is refused: it would accept tokens for other APIs', () => {
    expect(reasonOf({ ...oidc, OIDC_AUDIENCE: '' })).toContain('OIDC_ISSUER is set without OIDC_AUDIENCE');
  });

  test('an issuer without a key for subjects is refused: a rotation of ACTOR_KEYS would rename every subject', () => {
    expect(reasonOf({ ...oidc, OIDC_SUBJECT_KEY: '' })).toBe(
      'OIDC_ISSUER is set without OIDC_SUBJECT_KEY, from which the ids of subjects are made: make one with npm run keys:generate, or set it to the first of ACTOR_KEYS to keep the ids of a release that used that.',
    );
  });

  const clientsOf = (env: object): string[] | undefined => {
    const { clients } = oidcSettingsOf(loadGatewayConfig({ ...base, ...upstreamUrls, ...oidc, ...env })) ?? {};
    return clients && [...clients];
  };

  test('every client may act by scopes where no subject is an end user, and no client where subjects can be', () => {
    expect(clientsOf({})).toBeUndefined();
    expect(clientsOf({ OIDC_USER_CLAIM: 'user' })).toEqual([]);
    expect(clientsOf({ OIDC_USER_CLAIM: 'user', OIDC_CLIENTS: 'backend, batch' })).toEqual(['backend', 'batch']);
    expect(clientsOf({ OIDC_CLIENTS: 'backend' })).toEqual(['backend']);
  });

  test.each(['OIDC_ISSUER', 'OIDC_JWKS_URL'])('%s must be https in production', (name) => {
    const env = { ...oidc, [name]: 'http://login.example.com', ENVIRONMENT: 'production' };
    expect(reasonOf(env)).toContain('must be https:// with ENVIRONMENT=production');
  });

  test.each([
    ['OIDC_ISSUER', 'login.example.com'],
    ['OIDC_TOKEN_TYPE', 'a b'],
    ['OIDC_USER_CLAIM', 'a b'],
    ['OIDC_SUBJECT_KEY', 'short'],
    ['OIDC_CLIENTS', 'a,,b'],
    ['OIDC_CLIENTS', 'a b'],
    ['KEYS_STALE_SECONDS', '1'],
  ])('%s=%s is refused', (name, value) =>
    expect(reasonOf({ ...oidc, [name]: value })).toContain(`${name} is not valid`),
  );
});
