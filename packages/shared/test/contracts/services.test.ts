// Where the internal listeners of the services are, when the environment does not say it.
import { expect, test } from '@jest/globals';
import { queues, queuesOf } from '../../src/contracts/queues.ts';
import { withInternalUrls } from '../../src/contracts/services.ts';

test.each([
  ['http://users:8001', 'http://users:9001/'],
  [' http://127.0.0.1:18001/ ', 'http://127.0.0.1:19001/'],
  ['https://[::1]:8443', 'https://[::1]:9443/'],
])('the internal listener of %s is on the same host, 1000 ports higher: %s', (url, internal) => {
  expect(withInternalUrls({ USERS_URL: url, OTHER: 'kept' })).toEqual({
    USERS_URL: url,
    USERS_INTERNAL_URL: internal,
    OTHER: 'kept',
  });
});

test.each([
  ['names no port', { USERS_URL: 'http://users' }],
  ['names a port with no other 1000 higher', { USERS_URL: 'http://users:65000' }],
  ['is no URL', { USERS_URL: 'users' }],
  ['is not set', {}],
])('there is no default when the public URL %s', (_case, env) => {
  expect(withInternalUrls(env)).toEqual(env);
});

test.each([
  { PROMOTIONS_URL: 'http://promotions:80', PROMOTIONS_INTERNAL_URL: 'http://promotions-internal:8080' },
  { PROMOTIONS_URL: 'http://promotions:8002', PROMOTIONS_INTERNAL_URL_FILE: '/run/secrets/url' },
])('what is set stays: %j', (env) => {
  expect(withInternalUrls(env)).toEqual(env);
});

test('with the account of a consumer one reaches its queues, and with any other all of them', () => {
  const all = Object.keys(queues);
  expect(queuesOf('subscriptions')).toEqual(['subscriptions.projections']);
  expect(queuesOf('promopulse-engagement')).toEqual(['engagement.projections']);
  for (const account of ['users', 'guest', 'promopulse', '', 'mysubscriptions']) expect(queuesOf(account)).toEqual(all);
});
