// The engagement service between stub owners, on real Postgres and RabbitMQ.
import { randomUUID } from 'node:crypto';
import { expect } from '@jest/globals';
import type { PromotionStatus } from '@promopulse/shared/contracts/promotions';
import { connectRabbit } from '@promopulse/shared/messaging/rabbitmq/broker';
import { brokerOptions } from '@promopulse/shared/service/service-broker';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import type { ClientResponse, Wire } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { amqpUrl } from '@promopulse/testing/servers';
import { startTestService, type TestService } from '@promopulse/testing/service';
import { type StubOwner, startOwner } from '@promopulse/testing/stub-owner';
import { engagement } from '../src/service.ts';

const dayMs = 86_400_000;

export interface Scene extends TestService {
  users: StubOwner;
  promotions: StubOwner;
  subscriptions: StubOwner;
  /** @returns the receipts */
  send(events: unknown): Promise<Wire[]>;
  statuses(events: unknown): Promise<string[]>;
  statistics(query: Record<string, string | number>): Promise<ClientResponse<Wire>>;
  /** The sums of everything, which must be balanced. */
  balance(promotion?: number): Promise<Wire>;
  /** Uniques that were counted and differ from the stored events: ever (without a day), and of each day. */
  wrongUniques(): Promise<Wire[]>;
  /** Sends an event as the relay of its owner would. */
  announce(name: string, data: Readonly<Record<string, unknown> & { id: number }>): Promise<void>;
  /** Makes the service doubt a promotion, so that it asks the owner. */
  doubt(promotion: number): Promise<unknown>;
}

/** Users 1 to 3 exist, and 4 was never there. Promotions: 1 active, 2 ended an hour ago, 3 a draft, 4 begins in an hour. */
export async function startScene(env: Record<string, string> = {}): Promise<Scene> {
  const [users, promotions, subscriptions] = await Promise.all([startOwner(), startOwner(), startOwner()]);
  for (const id of [1, 2, 3]) users.states.set(id, { id, version: 1 });
  promotions.states.set(1, promotionState(1, 'active'));
  promotions.states.set(2, promotionState(2, 'ended', { updated_at: at(-3_600_000) }));
  promotions.states.set(3, promotionState(3, 'draft'));
  promotions.states.set(4, promotionState(4, 'active', { start_at: at(3_600_000) }));
  const service = await startTestService(engagement, {
    USERS_INTERNAL_URL: users.url,
    PROMOTIONS_INTERNAL_URL: promotions.url,
    SUBSCRIPTIONS_INTERNAL_URL: subscriptions.url,
    OWNER_TIMEOUT_MS: '2000',
    FRESHNESS_LEASE_MS: '60000',
    ...env,
  });
  const owners: Record<string, StubOwner> = { users, promotions, subscriptions };
  const publisher = connectRabbit(
    { url: amqpUrl() },
    brokerOptions(service.prefix, createLogger({ service: 'test', level: 'silent' })),
  );
  await eventually(async () => {
    const { projections } = (await service.internal.get('/health')).body;
    for (const owner of Object.keys(owners)) expect(projections[owner]).toMatchObject({ reconciled: true });
  });
  const send: Scene['send'] = async (events) => {
    const { status, body } = await service.api.post('/events', events);
    expect([status, body.receipts?.length]).toEqual([200, Array.isArray(events) ? events.length : 1]);
    return body.receipts;
  };
  return {
    ...service,
    ...{ users, promotions, subscriptions, send },
    statuses: async (events) => (await send(events)).map(({ status }) => status),
    statistics: (query) =>
      service.api.get(
        `/statistics?${new URLSearchParams(Object.entries(query).map(([name, value]): [string, string] => [name, String(value)]))}`,
      ),
    balance: async (promotion) => {
      const path = `/statistics/reconciliation${promotion ? `?promotion_id=${promotion}` : ''}`;
      const { status, body } = await service.api.get(path);
      expect({ status, ...body }).toMatchObject({ status: 200, is_balanced: true });
      return body;
    },
    wrongUniques: () => service.sql(uniquesText),
    announce: async (name, data) => {
      const service = `${name.split('.')[0]}s`;
      const { publication } = owners[service] as StubOwner;
      publication.number += 1;
      const envelope = {
        ...{ specversion: '1.0', id: randomUUID(), source: `/promopulse/${service}`, type: `promopulse.${name}.v1` },
        ...{ subject: String(data.id), time: new Date().toISOString(), datacontenttype: 'application/json' },
        ...{ epoch: publication.epoch, lead: publication.lead, sequencenumber: publication.number, data },
      };
      const message = { id: envelope.id, routingKey: name, body: JSON.stringify(envelope), mandatory: true };
      await eventually(async () => expect(await publisher.publish([message])).toEqual(['confirmed']));
    },
    doubt: (promotion) =>
      service.sql('update engagement.cached_promotions set doubted_at = now() where promotion_id = $1', [promotion]),
    close: async () => {
      await publisher.close();
      await service.close();
      for (const owner of Object.values(owners)) await owner.close();
    },
  };
}

const subject = `coalesce('user ' || user_id, 'visitor ' || visitor)`;
const uniquesText = `with counted as (
    select promotion_id, type, null as day, sum(first_ever) from engagement.event_counts group by 1, 2
    union all select promotion_id, type, (bucket at time zone 'UTC')::date, sum(first_of_day) from engagement.event_counts group by 1, 2, 3
  ), stored as (
    select promotion_id, type, null as day, count(distinct ${subject}) from engagement.events group by 1, 2
    union all select promotion_id, type, day, count(distinct ${subject}) from engagement.events group by 1, 2, 3
  )
  (table counted except table stored) union all (table stored except table counted)`;

/** A time, in milliseconds from now. */
export function at(ms: number): string {
  return new Date(Date.now() + ms).toISOString();
}

export function daysFromNow(days: number): string {
  return at(days * dayMs);
}

/** The state of a promotion as its owner tells it. */
export function promotionState(
  id: number,
  status: PromotionStatus,
  { start_at = daysFromNow(-300), end_at = daysFromNow(300), updated_at = daysFromNow(-100), version = 2 } = {},
) {
  const created_at = daysFromNow(-300);
  return {
    id,
    version,
    status,
    name: 'Sale',
    description: null,
    start_at,
    end_at,
    created_at,
    updated_at,
    created_by: null,
  };
}

let count = 0;

/** An event that is accepted, unless `fields` says otherwise. */
export function event(fields: Record<string, unknown> = {}) {
  count += 1;
  const subject = 'visitor' in fields || 'user_id' in fields ? {} : { user_id: 1 };
  return { id: `event-${count}`, type: 'view', promotion_id: 1, ...subject, occurred_at: at(-1_000), ...fields };
}
