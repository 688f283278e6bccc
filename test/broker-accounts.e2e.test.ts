// Each service has an account of its own in RabbitMQ, with the rights that it needs and no others.

import { execFile } from 'node:child_process';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { eventData } from '@promopulse/shared/contracts/index';
import { eventPrefix, services } from '@promopulse/shared/contracts/services';
import { openRabbitDeadLetters } from '@promopulse/shared/messaging/rabbitmq/dead-letters';
import { brokerPermissions } from '@promopulse/shared/messaging/rabbitmq/permissions';
import { childEnvironment } from '@promopulse/testing/child-environment';
import { eventually } from '@promopulse/testing/eventually';
import { amqpUrl, deleteTopology, rabbitmqctl, uniquePrefix } from '@promopulse/testing/servers';
import { startTestService, type TestService, testKeys } from '@promopulse/testing/service';
import { type ConfirmChannel, connect } from 'amqplib';
import { promotions } from '../services/promotions/src/service.ts';
import { subscriptions } from '../services/subscriptions/src/service.ts';
import { users } from '../services/users/src/service.ts';

const prefix = uniquePrefix();
const exchange = `${prefix}promopulse.events`;
const queue = `${prefix}subscriptions.projections`;
const password = 'test-only';
const command = new URL('../packages/shared/src/commands/broker-accounts.ts', import.meta.url).pathname;
const urlOf = (service: string): string => Object.assign(new URL(amqpUrl()), { username: service, password }).href;

const running: TestService[] = [];
let promotionApi: TestService;
let subscriptionApi: TestService;
let userApi: TestService;

/** Each run of rabbitmqctl starts an Erlang VM, so all accounts are made by one. */
async function importAccounts(): Promise<void> {
  const accounts = services.map((user) => ({ user, vhost: '/', ...brokerPermissions(user, prefix) }));
  const definitions = {
    users: services.map((name) => ({ name, password, tags: '' })),
    permissions: accounts.map(({ topic: _topic, ...permissions }) => permissions),
    topic_permissions: accounts.map(({ user, vhost, topic }) => ({ user, vhost, ...topic })),
  };
  // A JSON text in quotes is a string of Erlang too.
  await rabbitmqctl('eval', `ok = rabbit_definitions:import_raw(<<${JSON.stringify(JSON.stringify(definitions))}>>).`);
}

async function deleteAccounts(): Promise<void> {
  const names = services.map((name) => `<<"${name}">>`).join(', ');
  await rabbitmqctl('eval', `[rabbit_auth_backend_internal:delete_user(Name, <<"test">>) || Name <- [${names}]].`);
}

/** Works on a channel of a service's account. @returns the code with which RabbitMQ refuses, or undefined */
async function refusal(service: string, work: (channel: ConfirmChannel) => Promise<unknown>): Promise<unknown> {
  const connection = await connect(urlOf(service));
  connection.on('error', () => undefined);
  const channel = await connection.createConfirmChannel();
  const failed = new Promise((resolve) => channel.once('error', ({ code }) => resolve(code)));
  const done = work(channel).then(
    () => undefined,
    () => failed, // a refused publish fails as "channel closed"; the code is in the event
  );
  const code = await done;
  await connection.close();
  return code;
}

const publish =
  (routingKey: string, options: object = {}, to = exchange) =>
  async (channel: ConfirmChannel) => {
    channel.publish(to, routingKey, Buffer.from('{}'), options);
    await channel.waitForConfirms();
  };

const forbidden = 403;
const isConnected = async ({ internal }: TestService) => {
  const { body } = await internal.get('/health');
  if (body.broker !== 'connected') throw new Error(`the broker is ${body.broker}`);
};

describe('on RabbitMQ', () => {
  beforeAll(async () => {
    await importAccounts();
    const env = (service: string) => ({ AMQP_URL: urlOf(service), AMQP_PREFIX: prefix });
    const keys = { PII_ENCRYPTION_KEYS: testKeys[0], PII_INDEX_KEY: testKeys[2] };
    userApi = await startTestService(users, { ...env('users'), ...keys });
    promotionApi = await startTestService(promotions, env('promotions'));
    const owners = { USERS_INTERNAL_URL: userApi.internalUrl, PROMOTIONS_INTERNAL_URL: promotionApi.internalUrl };
    subscriptionApi = await startTestService(subscriptions, { ...env('subscriptions'), ...owners });
    running.push(subscriptionApi, promotionApi, userApi);
  }, 120_000);
  afterAll(async () => {
    for (const service of running) await service.close();
    await deleteTopology(prefix);
    await deleteAccounts();
  }, 120_000);

  describe('the services with their own accounts', () => {
    test('connect, and a status change is answered after its event is applied', async () => {
      for (const service of running) await eventually(() => isConnected(service));
      const { body } = await promotionApi.api.post('/promotions', {
        name: 'Sale',
        start_at: '2026-06-01T00:00:00Z',
        end_at: '2026-07-01T00:00:00Z',
      });
      const answer = await promotionApi.api.post(`/promotions/${body.id}/status`, { status: 'active' });
      expect(answer.headers.get('promopulse-projection')).toBe('applied');
      const user = { first_name: 'Ada', last_name: 'L', email: 'ada@example.com' };
      const { body: created } = await userApi.api.post('/users', user);
      const subscribed = await subscriptionApi.api.post('/subscriptions', {
        user_id: created.id,
        promotion_id: body.id,
      });
      expect(subscribed.status).toBe(201);
      await eventually(async () => {
        const known = await subscriptionApi.sql('select from subscriptions.known_users where user_id = $1', [
          created.id,
        ]);
        expect(known).toHaveLength(1);
      });
      for (const { internal } of running) {
        await eventually(async () => expect((await internal.get('/health')).body.outbox.waiting).toBe(0));
      }
    });

    test('keep their dead letters, which the account of the consumer can list and replay', async () => {
      const store = await openRabbitDeadLetters({ url: urlOf('subscriptions') }, { prefix });
      expect(await refusal('users', publish('user.created', { messageId: 'unreadable' }))).toBeUndefined();
      await eventually(async () => expect((await store.list()).map(({ id }) => id)).toContain('unreadable'));
      expect(await store.replay(['unreadable'])).toBe(1);
      await eventually(async () => expect(await store.discard(['unreadable'])).toBe(1));
      await store.close();
    });
  });

  describe('the account of a service', () => {
    test.each(['user.created', 'user.deleted', 'user.something_new', 'relay.heartbeat'])(
      'publishes %s',
      async (key) => {
        expect(await refusal('users', publish(key, { userId: 'users' }))).toBeUndefined();
      },
    );

    test('publishes heartbeats to their own exchange, in its own name, and receives none unless it consumes', async () => {
      const heartbeats = `${prefix}promopulse.heartbeats`;
      const receive = async (channel: ConfirmChannel) => {
        const replies = await channel.assertQueue('', { exclusive: true });
        await channel.bindQueue(replies.queue, heartbeats, 'relay.heartbeat');
      };
      for (const service of services) {
        expect(await refusal(service, publish('relay.heartbeat', { userId: service }, heartbeats))).toBeUndefined();
      }
      expect(await refusal('users', publish('relay.heartbeat', { userId: 'promotions' }, heartbeats))).toBe(406);
      expect(await refusal('users', receive)).toBe(forbidden);
    });

    test.each(['promotion.status_changed', 'promotion.created', 'subscription.created', 'users', 'user.a.b', ''])(
      'cannot publish "%s", the event of another service or of none',
      async (key) => {
        expect(await refusal('users', publish(key))).toBe(forbidden);
      },
    );

    test('cannot publish in the name of another one', async () => {
      expect(await refusal('users', publish('user.created', { userId: 'promotions' }))).toBe(406);
      expect(await refusal('users', publish('user.created', { userId: 'guest' }))).toBe(406);
    });

    test('cannot put a message into a queue by its name, nor into its dead letters', async () => {
      expect(await refusal('users', publish(queue, {}, ''))).toBe(forbidden);
      expect(await refusal('promotions', publish(queue, {}, `${prefix}promopulse.dead-letters`))).toBe(forbidden);
    });

    const forbiddenWork: [string, string, (channel: ConfirmChannel) => Promise<unknown>][] = [
      ['users', 'delete the queue of another one', (channel) => channel.deleteQueue(queue)],
      ['users', 'purge the queue of another one', (channel) => channel.purgeQueue(queue)],
      ['users', 'read the queue of another one', (channel) => channel.get(queue)],
      ['users', 'consume the queue of another one', (channel) => channel.consume(queue, () => undefined)],
      ['promotions', 'read the dead letters of another one', (channel) => channel.get(`${queue}.dead`)],
      ['promotions', 'declare a queue of its own', (channel) => channel.assertQueue(`${prefix}promotions.copy`)],
      ['promotions', 'unbind the queue of another one', (channel) => channel.unbindQueue(queue, exchange, 'user.*')],
      ['subscriptions', 'declare a queue of another one', (channel) => channel.assertQueue(`${prefix}users.copy`)],
      ['subscriptions', 'declare an exchange', (channel) => channel.assertExchange(`${prefix}other`, 'topic')],
      ['subscriptions', 'bind more than it consumes', (channel) => channel.bindQueue(queue, exchange, '#')],
      [
        'subscriptions',
        'use the names of another prefix',
        (channel) => channel.assertQueue('subscriptions.projections'),
      ],
    ];
    test.each(forbiddenWork)('of %s cannot %s', async (service, _what, work) => {
      expect(await refusal(service, work)).toBe(forbidden);
    });
  });
});

test('every event belongs to one service, whose account may publish it', () => {
  for (const name of Object.keys(eventData).filter((each) => each !== 'relay.heartbeat')) {
    const owners = services.filter((service) => new RegExp(brokerPermissions(service, '').topic.write).test(name));
    expect(owners).toEqual(services.filter((service) => name.startsWith(eventPrefix(service))));
    expect(owners).toHaveLength(1);
  }
});

describe('the command for the accounts', () => {
  interface Received {
    method: string | undefined;
    url: string | undefined;
    authorization: string | undefined;
    body: Record<string, string>;
  }

  /** Answers like RabbitMQ's management API, at first as one that is still starting. */
  async function startManagementStub(statuses: number[]) {
    const received: Received[] = [];
    const server = createServer(async (request: IncomingMessage, response) => {
      const { method, url, headers } = request;
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const status = statuses.shift() ?? 204;
      const body = JSON.parse(Buffer.concat(chunks).toString()) as Received['body'];
      if (status < 300) received.push({ method, url, authorization: headers.authorization, body });
      response.writeHead(status).end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return { received, port: (server.address() as AddressInfo).port, close: () => server.close() };
  }
  const runCommand = (args: string[], env: Record<string, string> = {}) =>
    promisify(execFile)(process.execPath, [command, ...args], { env: { ...childEnvironment, ...env } }).then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      ({ code, stdout, stderr }) => ({ code, stdout, stderr }),
    );

  test('sets password, permissions and topic permissions of each service, once RabbitMQ has started', async () => {
    const stub = await startManagementStub([503]);
    const { code, stdout } = await runCommand(['apply'], {
      RABBITMQ_MANAGEMENT_URL: `http://admin:s%40cret@127.0.0.1:${stub.port}`,
      BROKER_PASSWORD: 'for all',
      USERS_BROKER_PASSWORD: 'for users',
    });
    stub.close();
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: `The accounts of ${services.join(', ')} are up to date.\n`,
    });
    expect(stub.received.map(({ method, url }) => `${method} ${url}`)).toEqual(
      services.flatMap((service) => [
        `PUT /api/users/${service}`,
        `PUT /api/permissions/%2F/${service}`,
        `PUT /api/topic-permissions/%2F/${service}`,
      ]),
    );
    const { configure, write, read, topic } = brokerPermissions('users', '');
    expect(stub.received.slice(0, 3).map(({ body }) => body)).toEqual([
      { password: 'for users', tags: '' },
      { configure, write, read },
      topic,
    ]);
    expect(stub.received[3]?.body.password).toBe('for all');
    const basic = `Basic ${Buffer.from('admin:s@cret').toString('base64')}`;
    expect(new Set(stub.received.map(({ authorization }) => authorization))).toEqual(new Set([basic]));
  });

  test('stops at the first refusal, names every password that is missing, and shows none', async () => {
    const stub = await startManagementStub([401]);
    const url = `http://admin:secret@127.0.0.1:${stub.port}`;
    const refused = await runCommand(['apply'], { RABBITMQ_MANAGEMENT_URL: url, BROKER_PASSWORD: 'hidden' });
    stub.close();
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('users/users: status 401') });
    expect(refused.stderr).not.toMatch(/secret|hidden/);
    const incomplete = await runCommand(['apply'], { RABBITMQ_MANAGEMENT_URL: url, USERS_BROKER_PASSWORD: 'hidden' });
    expect(incomplete.stderr).toMatch(/PROMOTIONS_BROKER_PASSWORD is not set[\s\S]*SUBSCRIPTIONS_BROKER_PASSWORD/);
    expect(incomplete.stderr).not.toMatch(/hidden|USERS_BROKER/);
  });

  test('in production, refuses default passwords, except one that no service uses', async () => {
    const stub = await startManagementStub([]);
    const own = Object.fromEntries(services.map((service) => [`${service.toUpperCase()}_BROKER_PASSWORD`, 'kQ3-x9Vw']));
    const production = {
      ENVIRONMENT: 'production',
      BROKER_PASSWORD: 'development-only',
      RABBITMQ_MANAGEMENT_URL: `http://promopulse:kQ3-x9Vw@127.0.0.1:${stub.port}`,
    };
    const common = await runCommand(['apply'], { ...production, USERS_BROKER_PASSWORD: 'kQ3-x9Vw' });
    expect(common).toMatchObject({ code: 1, stderr: expect.stringContaining('- BROKER_PASSWORD is refused') });
    const url = `http://promopulse:development-only@127.0.0.1:${stub.port}`;
    const administrator = await runCommand(['apply'], { ...production, ...own, RABBITMQ_MANAGEMENT_URL: url });
    expect(administrator).toMatchObject({ code: 1, stderr: expect.stringContaining('- RABBITMQ_MANAGEMENT_URL is') });
    expect(stub.received).toEqual([]);
    expect(await runCommand(['apply'], { ...production, ...own })).toMatchObject({ code: 0 });
    stub.close();
  });

  test('prints commands for rabbitmqctl that set the same permissions', async () => {
    const { stdout } = await runCommand(['print'], { AMQP_PREFIX: prefix });
    const { configure, topic } = brokerPermissions('subscriptions', prefix);
    expect(stdout.match(/^rabbitmqctl add_user \w+$/gm)).toHaveLength(services.length);
    expect(stdout).toContain(`rabbitmqctl set_permissions -p / subscriptions '${configure}'`);
    expect(stdout).toContain(`rabbitmqctl set_topic_permissions -p / subscriptions ${topic.exchange} '${topic.write}'`);
  });

  test.each([[[]], [['other']], [['apply', 'more']]])('shows its usage for %j', async (args) => {
    expect(await runCommand(args)).toMatchObject({ code: 2, stderr: expect.stringContaining('Usage:') });
  });
});
