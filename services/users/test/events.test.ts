import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parseEvent, type ReceivedEvent } from '@promopulse/shared/contracts/index';
import { queues } from '@promopulse/shared/contracts/queues';
import { type Broker, Unprocessable } from '@promopulse/shared/messaging/broker';
import { connectRabbit } from '@promopulse/shared/messaging/rabbitmq/broker';
import { brokerOptions } from '@promopulse/shared/service/service-broker';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import { eventually } from '@promopulse/testing/eventually';
import { amqpUrl } from '@promopulse/testing/servers';
import { startTestService, type TestService } from '@promopulse/testing/service';
import { CloudEvent } from 'cloudevents';
import { users } from '../src/service.ts';
import { ada, createUser, keys } from './wire.ts';

let service: TestService;
let broker: Broker;
const received: { body: string; event: ReceivedEvent }[] = [];

beforeAll(async () => {
  service = await startTestService(users, keys);
  const queue = 'subscriptions.projections';
  const log = createLogger({ service: 'test', level: 'silent' });
  broker = connectRabbit({ url: amqpUrl() }, brokerOptions(service.prefix, log));
  broker.consume({
    queue,
    bindings: queues[queue],
    handle: async ({ body, routingKey }) => {
      const event = parseEvent(body);
      if (event.name !== routingKey) throw new Unprocessable('the routing key is not the name of the event');
      received.push({ body, event });
    },
  });
});
afterAll(async () => {
  await broker?.close();
  await service?.close();
});

const eventsOf = async ({ id }: { id: number }) =>
  (await service.events()).filter(({ subject }) => subject === String(id));

describe('the outbox', () => {
  test('has one event for a created user, with its id and version and nothing else', async () => {
    const user = await createUser(service.api, { phone: '+14155550123' });
    expect(await eventsOf(user)).toEqual([
      { name: 'user.created', subject: String(user.id), data: { id: user.id, version: 1 } },
    ]);
  });

  test('has none for a rejected creation', async () => {
    await createUser(service.api, { email: 'once@example.com' });
    const before = await service.events();
    const statuses = [
      await service.api.post('/users', { ...ada, email: 'ONCE@example.com' }),
      await service.api.post('/users', { ...ada, email: 'none' }),
      await service.api.post('/users', { ...ada, first_name: '\0' }),
    ].map(({ status }) => status);
    expect(statuses).toEqual([409, 422, 422]);
    expect(await service.events()).toEqual(before);
  });

  test.each([
    ['a first name', { first_name: 'Augusta' }, ['first_name']],
    ['a last name and a new phone', { last_name: 'King', phone: '+14155550124' }, ['last_name', 'phone']],
    ['a removed phone', { phone: null }, ['phone']],
    ['the letter case of the email', { email: 'CHANGED@example.com' }, ['email']],
    ['one field, beside one that stays as it is', { first_name: 'Ada', last_name: 'King' }, ['last_name']],
    ['an email with ı', { email: 'changıd@example.com' }, ['email']],
  ])('has one event for %s, with the names of the changed fields and no value', async (_case, changes, changed) => {
    const user = await createUser(service.api, { email: 'changed@example.com', phone: '+14155550123' });
    expect((await service.api.patch(`/users/${user.id}`, changes)).status).toBe(200);
    expect((await eventsOf(user)).slice(1)).toEqual([
      { name: 'user.updated', subject: String(user.id), data: { id: user.id, version: 2, changed } },
    ]);
    await service.api.patch(`/users/${user.id}`, { email: `left.${user.id}@example.com` });
    expect((await eventsOf(user)).slice(2)).toMatchObject([{ data: { version: 3, changed: ['email'] } }]);
  });

  test('has none for a change that changes nothing, and none for one that is rejected', async () => {
    const user = await createUser(service.api, { phone: '+14155550123' });
    const other = await createUser(service.api);
    const { first_name, last_name, email, phone } = user;
    for (const same of [{}, { first_name }, { email }, { phone }, { first_name, last_name, email, phone }]) {
      expect((await service.api.patch(`/users/${user.id}`, same)).status).toBe(200);
    }
    for (const rejected of [{ first_name: '' }, { last_name: 'King', email: other.email }]) {
      expect((await service.api.patch(`/users/${user.id}`, rejected)).status).toBeGreaterThan(400);
    }
    expect(await eventsOf(user)).toHaveLength(1);
    await createUser(service.api, { email: 'without@example.com', phone: null }).then(async (bare) => {
      await service.api.patch(`/users/${bare.id}`, { phone: null });
      expect(await eventsOf(bare)).toHaveLength(1);
    });
  });

  test('has one event for each of two changes at once, in the order of the versions', async () => {
    const user = await createUser(service.api);
    const path = `/users/${user.id}`;
    await Promise.all([
      service.api.patch(path, { first_name: 'Augusta' }),
      service.api.patch(path, { last_name: 'King' }),
    ]);
    expect((await eventsOf(user)).map(({ data }) => data.version)).toEqual([1, 2, 3]);
  });

  test('that cannot be written leaves no user', async () => {
    await service.sql(`create function users.reject_event() returns trigger language plpgsql as
      $$ begin raise exception 'no event today'; end $$`);
    await service.sql(
      'create trigger reject_event before insert on users.outbox execute function users.reject_event()',
    );
    const answer = await service.api.post('/users', { ...ada, email: 'rolled.back@example.com' });
    await service.sql('drop trigger reject_event on users.outbox');
    expect(answer).toMatchObject({ status: 500, body: { detail: 'The server failed. Report the request_id.' } });
    expect((await service.api.get('/users?email=rolled.back@example.com')).body.total).toBe(0);
    expect((await service.api.post('/users', { ...ada, email: 'rolled.back@example.com' })).status).toBe(201);
  });
});

describe('on the queue', () => {
  const bodiesOf = (requestId: string): string[] =>
    received.filter(({ event }) => event.envelope.requestid === requestId).map(({ body }) => body);
  const arrived = (user: { id: number }) =>
    eventually(
      () => {
        const found = received.find(({ event }) => event.envelope.subject === String(user.id));
        if (!found) throw new Error('has not arrived');
        return found;
      },
      { timeoutMs: 20_000 },
    );

  test('a created user is a CloudEvent that names the request', async () => {
    const { body: user } = await service.api.post(
      '/users',
      { ...ada, email: 'traced@example.com' },
      { 'x-request-id': 'request-of-this-test' },
    );
    const { body } = await arrived(user);
    const json = JSON.parse(body);
    expect(new CloudEvent(json).validate()).toBe(true);
    expect(json).toEqual({
      specversion: '1.0',
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      source: '/promopulse/users',
      type: 'promopulse.user.created.v1',
      subject: String(user.id),
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      datacontenttype: 'application/json',
      dataschema: 'urn:promopulse:schema:user.created:1',
      requestid: 'request-of-this-test',
      epoch: expect.stringMatching(/^[0-9a-f-]{36}$/),
      lead: expect.stringMatching(/^[0-9a-f-]{36}$/),
      sequencenumber: expect.any(Number),
      data: { id: user.id, version: 1 },
    });
  });

  test('a changed user is a CloudEvent with the names of the fields', async () => {
    const user = await createUser(service.api);
    const headers = { 'x-request-id': 'change-of-this-test' };
    await service.api.patch(`/users/${user.id}`, { email: 'arrived@example.com' }, headers);
    await eventually(() => expect(bodiesOf('change-of-this-test')).toHaveLength(1), { timeoutMs: 20_000 });
    const [body] = bodiesOf('change-of-this-test') as [string];
    expect(new CloudEvent(JSON.parse(body)).validate()).toBe(true);
    expect(JSON.parse(body)).toMatchObject({
      type: 'promopulse.user.updated.v1',
      subject: String(user.id),
      data: { id: user.id, version: 2, changed: ['email'] },
    });
    expect(body).not.toContain('arrived');
  });

  test('every created user arrives', async () => {
    const made = await Promise.all(Array.from({ length: 10 }, () => createUser(service.api)));
    for (const user of made) expect((await arrived(user)).event.data).toEqual({ id: user.id, version: 1 });
  });
});
