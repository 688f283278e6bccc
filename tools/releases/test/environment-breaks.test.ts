// What breaks an installation by its environment variables is found, and nothing else is. The variables are those that the
// processes read.
import { beforeAll, describe, expect, test } from '@jest/globals';
import { schemaOwners } from '@promopulse/shared/contracts/services';
import { variablesIn } from '../compose-variables.ts';
import { type EnvironmentDocument, environmentDocument } from '../environment.ts';
import { listEnvironmentBreaks } from '../environment-breaks.ts';

let document: EnvironmentDocument;
beforeAll(async () => {
  document = await environmentDocument('0.2.0');
});

type Change = (copy: EnvironmentDocument) => void;

/** The breaks of a copy that `change` has changed. */
function breaksOf(change: Change): string[] {
  const copy = structuredClone(document);
  change(copy);
  return listEnvironmentBreaks(document, copy);
}

// biome-ignore lint/suspicious/noExplicitAny: a planted change may have any shape
const of = (copy: EnvironmentDocument, process: string): any => copy.processes[process];
const users = (copy: EnvironmentDocument) => of(copy, 'users');
const compose = (copy: EnvironmentDocument) => of(copy, 'docker-compose.yml');

test('the variables of every process are in the document, with those that it requires', () => {
  expect(Object.keys(document.processes)).toEqual([...schemaOwners, 'docker-compose.yml', 'docker-compose.auth.yml']);
  expect(users(document)).toMatchObject({
    properties: {
      PORT: { type: 'integer', default: 8001, minimum: 0, maximum: 65535 },
      AUTH: { enum: ['off', 'external', 'optional', 'required'], default: 'off' },
    },
    required: ['AMQP_URL', 'DATABASE_URL', 'PII_ENCRYPTION_KEYS', 'PII_INDEX_KEY'],
    'x-required-with': { 'ENVIRONMENT=production': ['AUTH'], 'AUTH=required': ['ACTOR_KEYS'] },
  });
  expect(of(document, 'gateway')['x-required-with'].OIDC_ISSUER).toContain('OIDC_SUBJECT_KEY');
  // It derives USERS_INTERNAL_URL from USERS_URL, so that either is enough.
  expect(Object.keys(of(document, 'subscriptions').properties)).toEqual(
    expect.arrayContaining(['USERS_URL', 'USERS_INTERNAL_URL']),
  );
  expect(of(document, 'subscriptions').required).toEqual(['AMQP_URL', 'DATABASE_URL']);
});

test('the variables of Compose are those in braces and those that it hands on', () => {
  const text = `
    # \${IN_A_COMMENT}
    image: \${IMAGE:-postgres:18}
    ports: ['\${BIND:-127.0.0.1}:80:80']
    environment:
      URL: http://\${NAME-me}:\${SECRET:?set it}@\${PLAIN}\${IF_SET:+yes}
      HANDED_ON:
    args: { ALSO: , FIXED: a }`;
  expect(variablesIn(text)).toEqual({
    type: 'object',
    properties: {
      ALSO: { type: 'string' },
      BIND: { type: 'string', default: '127.0.0.1' },
      HANDED_ON: { type: 'string' },
      IF_SET: { type: 'string' },
      IMAGE: { type: 'string', default: 'postgres:18' },
      NAME: { type: 'string', default: 'me' },
      PLAIN: { type: 'string' },
      SECRET: { type: 'string' },
    },
    required: ['SECRET'],
    'x-published': [`\${BIND:-127.0.0.1}:80:80`],
  });
});

describe('a change that breaks an installation is named', () => {
  test.each<[string, Change, string[]]>([
    ['a process is gone', (copy) => delete copy.processes.promotions, ['promotions is gone']],
    ['a variable is gone', (copy) => delete users(copy).properties.AMQP_PREFIX, ['users: AMQP_PREFIX is gone']],
    [
      'a variable has another name',
      (copy) => {
        users(copy).properties.BROKER_PREFIX = users(copy).properties.AMQP_PREFIX;
        delete users(copy).properties.AMQP_PREFIX;
      },
      ['users: AMQP_PREFIX is gone'],
    ],
    [
      'a variable is required',
      (copy) => users(copy).required.push('AMQP_PREFIX'),
      ['users: AMQP_PREFIX has become required'],
    ],
    [
      'a new variable is required',
      (copy) => {
        users(copy).properties.REGION = { type: 'string' };
        users(copy).required.push('REGION');
      },
      ['users: REGION has become required'],
    ],
    [
      'a variable is required in production',
      (copy) => users(copy)['x-required-with']['ENVIRONMENT=production'].push('ACTOR_KEYS'),
      ['users: ACTOR_KEYS has become required with ENVIRONMENT=production'],
    ],
    [
      'a default is another one',
      (copy) => (users(copy).properties.LOG_LEVEL.default = 'warn'),
      ['users: LOG_LEVEL: the default was info and is warn'],
    ],
    [
      'a default is gone',
      (copy) => delete users(copy).properties.LOG_LEVEL.default,
      ['users: LOG_LEVEL: the default was info and is none'],
    ],
    [
      'what was off has a default',
      (copy) => (users(copy).properties.METRICS_PORT.default = 9464),
      ['users: METRICS_PORT: the default was none and is 9464'],
    ],
    [
      'a number has a lower maximum',
      (copy) => (users(copy).properties.SHUTDOWN_TIMEOUT_MS.maximum = 60_000),
      ['users: SHUTDOWN_TIMEOUT_MS: maximum has become narrower'],
    ],
    [
      'a number has a higher minimum',
      (copy) => (users(copy).properties.SHUTDOWN_TIMEOUT_MS.minimum = 1_000),
      ['users: SHUTDOWN_TIMEOUT_MS: minimum has become narrower'],
    ],
    [
      'a value is not accepted any more',
      (copy) => users(copy).properties.AUTH.enum.splice(1, 1),
      ['users: AUTH: the value external is not accepted any more'],
    ],
    [
      'a text needs a form',
      (copy) => (users(copy).properties.AMQP_PREFIX.pattern = '^[a-z]+$'),
      ['users: AMQP_PREFIX: pattern was absent and is ^[a-z]+$'],
    ],
    [
      'a text is a number',
      (copy) => (users(copy).properties.AMQP_PREFIX.type = 'integer'),
      ['users: AMQP_PREFIX: string is not accepted any more'],
    ],
    [
      'Compose has no such variable',
      (copy) => delete compose(copy).properties.BIND,
      ['docker-compose.yml: BIND is gone'],
    ],
    [
      'Compose publishes a port elsewhere',
      (copy) => (compose(copy)['x-published'][0] = '8000:8000'),
      [`docker-compose.yml: the port \${BIND:-127.0.0.1}:\${PORT:-8000}:8000 is not published any more`],
    ],
    [
      'Compose takes another major version of PostgreSQL',
      (copy) => (compose(copy).properties.POSTGRES_IMAGE.default = 'postgres:19.0'),
      ['docker-compose.yml: POSTGRES_IMAGE: the default was postgres:18.6 and is postgres:19.0'],
    ],
  ])('%s', (_title, change, expected) => {
    expect(breaksOf(change)).toEqual(expected);
  });
});

describe('a change that breaks nothing is not named', () => {
  test.each<[string, Change]>([
    ['none', () => undefined],
    ['a new process', (copy) => (copy.processes.notes = users(copy))],
    ['a new optional variable', (copy) => (users(copy).properties.REGION = { type: 'string' })],
    ['a variable is not required any more', (copy) => users(copy).required.pop()],
    [
      'a required variable has a default',
      (copy) => {
        users(copy).required = users(copy).required.filter((name: string) => name !== 'AMQP_URL');
        users(copy).properties.AMQP_URL.default = 'amqp://localhost';
      },
    ],
    ['a number has a higher maximum', (copy) => (users(copy).properties.SHUTDOWN_TIMEOUT_MS.maximum = 600_000)],
    ['a further value', (copy) => users(copy).properties.AUTH.enum.push('mutual-tls')],
    ['a new condition', (copy) => (users(copy)['x-required-with']['REGION=eu'] = ['ACTOR_KEYS'])],
    [
      'Compose takes a later patch of PostgreSQL',
      (copy) => (compose(copy).properties.POSTGRES_IMAGE.default = 'postgres:18.7'),
    ],
  ])('%s', (_title, change) => {
    expect(breaksOf(change)).toEqual([]);
  });
});
