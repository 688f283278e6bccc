// The settings of RabbitMQ, checked before anything is connected.
import { describe, expect, test } from '@jest/globals';
import { createCertificateAuthority } from '@promopulse/testing/certificates';
import { z } from 'zod';
import { loadConfig } from '../../src/config.ts';
import { amqpConfig, connectArguments, rabbitEndpoint } from '../../src/messaging/rabbitmq/endpoint.ts';

const authority = createCertificateAuthority();
const own = authority.issue({ name: 'users' });
const other = authority.issue({ name: 'other' });

const read = (env: Record<string, string>) => rabbitEndpoint(loadConfig(z.object(amqpConfig), env));
const url = 'amqps://user:secret-word@mq.example.com/vhost';

test('reads all settings of TLS', () => {
  const env = {
    AMQP_URL: url,
    AMQP_TLS_CA: `${authority.cert}\n${createCertificateAuthority('second').cert}`,
    AMQP_TLS_CERT: own.cert,
    AMQP_TLS_KEY: own.key,
    AMQP_TLS_SERVER_NAME: 'mq',
  };
  expect(read(env).tls).toEqual({
    ca: env.AMQP_TLS_CA.trim(),
    cert: own.cert.trim(),
    key: own.key.trim(),
    servername: 'mq',
  });
});

describe('refuses, with the name of the variable and without its value,', () => {
  test.each([
    [
      'an unknown parameter',
      { AMQP_URL: `${url}?verify=false` },
      /AMQP_URL is not valid: has the unknown parameter "verify"/,
    ],
    [
      'a misspelt parameter',
      { AMQP_URL: `${url}?heartbeats=5` },
      /unknown parameter "heartbeats"; known are heartbeat/,
    ],
    ['a parameter that is no number', { AMQP_URL: `${url}?heartbeat=soon` }, /"heartbeat" that is not a whole number/],
    ['another protocol', { AMQP_URL: 'https://user:secret-word@mq' }, /AMQP_URL is not valid: must be an amqp/],
    ['a virtual host with a bare /', { AMQP_URL: `${url}/more` }, /write it as %2F/],
    ['a # in the password', { AMQP_URL: 'amqp://user:secret-word#@mq' }, /AMQP_URL is not valid/],
    ['a % that begins no sequence', { AMQP_URL: 'amqp://user:secret-word%zz@mq' }, /write it as %25/],
    [
      'an authority that is no certificate',
      { AMQP_URL: url, AMQP_TLS_CA: 'ca.pem' },
      /AMQP_TLS_CA is not valid: must be/,
    ],
    ['a key that is none', { AMQP_URL: url, AMQP_TLS_CERT: own.cert, AMQP_TLS_KEY: 'x' }, /AMQP_TLS_KEY is not valid/],
    ['a certificate without its key', { AMQP_URL: url, AMQP_TLS_CERT: own.cert }, /belong together/],
    ['a key without its certificate', { AMQP_URL: url, AMQP_TLS_KEY: own.key }, /belong together/],
    [
      'the key of another certificate',
      { AMQP_URL: url, AMQP_TLS_CERT: own.cert, AMQP_TLS_KEY: other.key },
      /AMQP_TLS_KEY is not the private key of AMQP_TLS_CERT/,
    ],
    [
      'settings of TLS with amqp://',
      { AMQP_URL: 'amqp://user:secret-word@mq', AMQP_TLS_CA: authority.cert },
      /AMQP_TLS_CA: only for TLS. AMQP_URL must begin with amqps:/,
    ],
  ])('%s', (_name, env, expected) => {
    expect(() => read(env as Record<string, string>)).toThrow(expected);
    expect(() => read(env as Record<string, string>)).not.toThrow(/secret-word/);
  });
});

test.each([
  ['amqp://mq', 'guest', 'guest', 5],
  ['amqp://user:p%40ss%2F@mq/%2F?heartbeat=20', 'user', 'p@ss/', 20],
  ['amqp://user@mq', 'user', '', 5],
])('%s connects as %s with %j and a heartbeat of %i s', (amqpUrl, username, password, heartbeat) => {
  const [connectUrl, options] = connectArguments(read({ AMQP_URL: amqpUrl }));
  expect(options.credentials).toMatchObject({ username, password });
  expect(new URL(connectUrl).searchParams.get('heartbeat')).toBe(String(heartbeat));
});
