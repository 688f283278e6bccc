// Programs outside: one that imports through the gateway, and one that subscribes to the events.
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createPromoPulse, type PromoPulse } from '@promopulse/client';
import { eventually } from '@promopulse/testing/eventually';
import { amqpUrl } from '@promopulse/testing/servers';
import { Ajv, type AnySchema } from 'ajv';
import formatsPlugin from 'ajv-formats';
import { type ChannelModel, connect } from 'amqplib';
import { CloudEvent } from 'cloudevents';
import { type RunningStack, startFreshStack } from './support/stack.ts';

/** The gateway lets so few requests wait for a service at once that an import of a hundred must be refused in part. */
const maxInFlight = 2;

let stack: RunningStack;
let promopulse: PromoPulse;
let connection: ChannelModel;
/** What a queue of all events receives: bound by `#`, by a program that knows nothing of these services. */
const received: { routingKey: string; event: Record<string, unknown> }[] = [];

beforeAll(async () => {
  // A long time-out: on a busy machine the client would otherwise repeat what is only late.
  stack = await startFreshStack('rabbit', { MAX_IN_FLIGHT: String(maxInFlight), UPSTREAM_TIMEOUT_MS: '20000' });
  promopulse = createPromoPulse(stack.url);
  connection = await connect(amqpUrl());
  const channel = await connection.createChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, `${stack.prefix}promopulse.events`, '#');
  await channel.consume(
    queue,
    (message) => {
      if (message) received.push({ routingKey: message.fields.routingKey, event: JSON.parse(String(message.content)) });
    },
    { noAck: true },
  );
}, 60_000);
afterAll(async () => {
  await connection?.close();
  await stack?.close();
});

test('100 users imported at once all get through, because the client obeys Retry-After', async () => {
  const refused: string[] = [];
  const importer = createPromoPulse(stack.url, {
    retry: {
      attempts: 20,
      fetch: async (request) => {
        const response = await fetch(request);
        if (response.status === 503) refused.push(String(response.headers.get('retry-after')));
        return response;
      },
    },
  });
  const answers = await Promise.all(
    Array.from({ length: 100 }, (_, index) =>
      importer.POST('/users', { body: { first_name: 'Ada', last_name: 'L', email: `ada.${index}@example.com` } }),
    ),
  );
  expect(answers.map(({ response }) => response.status)).toEqual(Array(100).fill(201));
  expect(new Set(answers.map(({ data }) => data?.id)).size).toBe(100); // nothing was made twice
  expect(refused.length).toBeGreaterThan(0); // otherwise nothing was shown
  for (const retryAfter of refused) expect(retryAfter).toMatch(/^\d+$/);
}, 90_000);

test('a subscriber of all events gets an event for each change, true to its schema, and no heartbeat', async () => {
  const user = await promopulse.POST('/users', { body: { first_name: 'Eve', last_name: 'L', email: 'e@example.com' } });
  const promotion = await promopulse.POST('/promotions', {
    body: { name: 'Sale', start_at: '2026-06-01T00:00:00Z', end_at: '2026-07-01T00:00:00Z' },
  });
  const path = { id: promotion.data?.id ?? 0 };
  await promopulse.PATCH('/promotions/{id}', { params: { path }, body: { name: 'Summer Sale' } });
  await promopulse.POST('/promotions/{id}/status', { params: { path }, body: { status: 'active' } });
  const body = { user_id: user.data?.id ?? 0, promotion_id: path.id };
  const { data: subscription } = await promopulse.POST('/subscriptions', { body });
  await promopulse.PATCH('/subscriptions/{id}/deactivate', { params: { path: { id: subscription?.id ?? 0 } } });
  const expected = [
    'promotion.created',
    'promotion.status_changed',
    'promotion.updated',
    'subscription.created',
    'subscription.deactivated',
    'user.created',
  ];
  await eventually(() =>
    expect([...new Set(received.map(({ routingKey }) => routingKey))].sort()).toEqual(expect.arrayContaining(expected)),
  );
  await sleep(2_500); // each relay sends a heartbeat every second
  expect(received.filter(({ routingKey, event }) => /heartbeat/.test(`${routingKey} ${event.type}`))).toEqual([]);

  const validate = schemaValidator();
  for (const { routingKey, event } of received) {
    expect(new CloudEvent(event).validate()).toBe(true);
    expect(event.type).toBe(`promopulse.${routingKey}.v1`);
    expect(validate('urn:promopulse:schema:envelope:1', event)).toEqual([]);
    expect(validate(String(event.dataschema), event.data)).toEqual([]);
  }
});

/** With the published schemas, found by their `$id`. */
function schemaValidator(): (id: string, value: unknown) => unknown[] {
  const ajv = new Ajv({ strict: true, allErrors: true });
  formatsPlugin.default(ajv);
  const folder = new URL('../docs/schemas/', import.meta.url);
  for (const file of readdirSync(folder)) {
    ajv.addSchema(JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as AnySchema);
  }
  return (id, value) => {
    const check = ajv.getSchema(id);
    if (!check) return [`there is no schema ${id}`];
    return check(value) ? [] : (check.errors ?? []);
  };
}
