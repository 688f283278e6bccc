import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Client } from '@promopulse/testing/client';
import { startTestService, type TestService } from '@promopulse/testing/service';
import { CloudEvent } from 'cloudevents';
import { promotions } from '../src/service.ts';
import { type Subscriber, subscribe } from './subscriber.ts';
import { createPromotion, eventsOf, getPromotion, promotionIn, setStatus, summerSale } from './wire.ts';

let service: TestService;
let api: Client;
let subscriber: Subscriber;
beforeAll(async () => {
  service = await startTestService(promotions);
  api = service.api;
  subscriber = subscribe(service.prefix);
});
afterAll(async () => {
  await subscriber?.broker.close();
  await service?.close();
});

/** Makes every event fail to be written for the time of `work`. */
async function withoutOutbox<Result>(work: () => Promise<Result>): Promise<Result> {
  await service.sql(`create or replace function promotions.reject_event() returns trigger language plpgsql as
    $$ begin raise exception 'no event today'; end $$`);
  await service.sql(
    'create trigger reject_event before insert on promotions.outbox execute function promotions.reject_event()',
  );
  try {
    return await work();
  } finally {
    await service.sql('drop trigger reject_event on promotions.outbox');
  }
}

describe('the outbox', () => {
  test('has one event per change, each with the whole state and the next version', async () => {
    const states = [await createPromotion(api)];
    const path = `/promotions/${states[0]?.id}`;
    states.push((await api.patch(path, { name: 'Winter Sale', description: null })).body);
    states.push((await api.post(`${path}/status`, { status: 'active' })).body);
    states.push((await api.patch(path, { description: 'Get 30% off' })).body);
    states.push((await api.post(`${path}/status`, { status: 'ended' })).body);

    const names = ['created', 'updated', 'status_changed', 'updated', 'status_changed'];
    const expected = states.map((state, index) => ({
      name: `promotion.${names[index]}`,
      subject: String(state.id),
      data: { ...state, version: index + 1 },
    }));
    expect(await eventsOf(service, states[0] as { id: number })).toEqual(expected);
  });

  test('has none for what changed nothing or was rejected', async () => {
    const promotion = await promotionIn(api, 'active');
    const path = `/promotions/${promotion.id}`;
    const before = await service.events();
    const answers = [
      await setStatus(api, promotion, 'active'),
      await api.patch(path, {}),
      await api.patch(path, { name: promotion.name }),
      await setStatus(api, promotion, 'draft'),
      await api.patch(path, { name: 'Mixed', end_at: '2027-01-01T00:00:00Z' }),
      await api.post('/promotions', { ...summerSale, end_at: summerSale.start_at }),
      await setStatus(api, { id: 99_999 }, 'active'),
    ];
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 422, 422, 422, 404]);
    expect(await service.events()).toEqual(before);
  });

  test('that cannot be written leaves the change undone', async () => {
    const draft = await createPromotion(api);
    const active = await promotionIn(api, 'active');
    const rows = () => service.sql('select * from promotions.promotions order by id');
    const [before, events] = [await rows(), await service.events()];
    const answers = await withoutOutbox(async () => [
      await api.post('/promotions', summerSale),
      await api.patch(`/promotions/${draft.id}`, { name: 'Half applied' }),
      await setStatus(api, draft, 'active'),
      await setStatus(api, active, 'ended'),
    ]);
    for (const { status, body } of answers) {
      expect([status, body.detail]).toEqual([500, 'The server failed. Report the request_id.']);
    }
    expect(await rows()).toEqual(before);
    expect(await service.events()).toEqual(events);
    expect((await setStatus(api, draft, 'active')).status).toBe(200);
    expect((await eventsOf(service, draft)).map(({ data }) => data.version)).toEqual([1, 2]);
  });
});

describe('on the queue', () => {
  test('every change is a CloudEvent that names the request', async () => {
    const headers = { 'x-request-id': 'request-of-this-test' };
    const { body: created } = await api.post('/promotions', summerSale, headers);
    const { body: changed } = await api.patch(`/promotions/${created.id}`, { name: 'Winter Sale' }, headers);
    const { body: activated } = await api.post(`/promotions/${created.id}/status`, { status: 'active' }, headers);
    const arrivals = await subscriber.arrivals(created, 3);
    const byKey = Object.fromEntries(arrivals.map(({ routingKey, body }) => [routingKey, JSON.parse(body)]));
    const expected = {
      'promotion.created': { ...created, version: 1 },
      'promotion.updated': { ...changed, version: 2 },
      'promotion.status_changed': { ...activated, version: 3 },
    };
    for (const [name, data] of Object.entries(expected)) {
      expect(new CloudEvent(byKey[name]).validate()).toBe(true);
      expect(byKey[name]).toEqual({
        specversion: '1.0',
        id: expect.stringMatching(/^[0-9a-f-]{36}$/),
        source: '/promopulse/promotions',
        type: `promopulse.${name}.v1`,
        subject: String(created.id),
        time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
        datacontenttype: 'application/json',
        dataschema: `urn:promopulse:schema:${name}:1`,
        requestid: 'request-of-this-test',
        epoch: expect.stringMatching(/^[0-9a-f-]{36}$/),
        lead: expect.stringMatching(/^[0-9a-f-]{36}$/),
        sequencenumber: expect.any(Number),
        data,
      });
    }
  });

  test('every change of many promotions arrives', async () => {
    const ended = await Promise.all(Array.from({ length: 10 }, () => promotionIn(api, 'ended')));
    for (const promotion of ended) {
      const versions = (await subscriber.arrivals(promotion, 3)).map(({ event }) => event.data);
      expect(versions).toContainEqual({ ...(await getPromotion(api, promotion)), version: 3 });
    }
  });
});
