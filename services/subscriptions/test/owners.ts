// The other services as the tests of subscriptions need them: two stub owners that answer over HTTP what a test sets,
// and a publisher of their events on the real broker.
import { randomUUID } from 'node:crypto';
import { expect } from '@jest/globals';
import type { EventDataOf, EventName } from '@promopulse/shared/contracts/index';
import type { PromotionStatus } from '@promopulse/shared/contracts/promotions';
import type { OutgoingMessage } from '@promopulse/shared/messaging/broker';
import { connectRabbit } from '@promopulse/shared/messaging/rabbitmq/broker';
import { brokerOptions } from '@promopulse/shared/service/service-broker';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import type { ClientResponse, Wire } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { amqpUrl } from '@promopulse/testing/servers';
import { startTestService, type TestService } from '@promopulse/testing/service';
import { type State, type StubOwner, startOwner } from '@promopulse/testing/stub-owner';
import { subscriptions } from '../src/service.ts';

type Promotion = ReturnType<typeof promotionState>;
type Announced = {
  [Name in EventName]: Name extends `promotion.${string}` ? Promotion : EventDataOf<Name>;
};

export interface Scene extends TestService {
  users: StubOwner;
  promotions: StubOwner;
  /** Changes the state of its owner, and sends the event as the owner's relay would; resolves when RabbitMQ has it. */
  announce<Name extends keyof Announced>(name: Name, data: Announced[Name]): Promise<void>;
  /** Sends the event only: its owner does not know the state. */
  send(name: string, data: unknown, attributes?: Record<string, unknown>): Promise<void>;
  announceRaw(message: Partial<OutgoingMessage>): Promise<void>;
  /** A heartbeat of the promotions relay: all committed `secondsAgo` or earlier has been published. */
  beat(secondsAgo?: number): Promise<void>;
  /** Sends heartbeats until the promotions are reconciled and fresh. No cached status is before. */
  fresh(): Promise<void>;
  cachedPromotion(id: number): Promise<{ status: string; version: number } | undefined>;
  projection(owner?: 'promotions' | 'users'): Promise<Wire>;
  subscribe(userId: number, promotionId: number): Promise<ClientResponse<Wire>>;
}

/** The real service on real Postgres and RabbitMQ, between two stub owners; `env` overrides its environment. */
export async function startScene(env: Record<string, string> = {}): Promise<Scene> {
  const users = await startOwner();
  const promotions = await startOwner();
  const service = await startTestService(subscriptions, {
    USERS_INTERNAL_URL: users.url,
    PROMOTIONS_INTERNAL_URL: promotions.url,
    OWNER_TIMEOUT_MS: '2000', // a busy machine may need more than the default for 50 requests at once
    ...env,
  });
  const log = createLogger({ service: 'test', level: 'silent' });
  const publisher = connectRabbit({ url: amqpUrl() }, brokerOptions(service.prefix, log));
  const announceRaw: Scene['announceRaw'] = (message) =>
    eventually(async () => {
      const whole = { id: randomUUID(), routingKey: 'promotion.created', body: '', mandatory: true, ...message };
      const [outcome] = await publisher.publish([whole]);
      if (outcome !== 'confirmed') throw new Error(`the event was ${outcome}`);
    });
  const send: Scene['send'] = async (name, data, attributes = {}) => {
    const owner = name.startsWith('user.') ? users : promotions;
    const { epoch, lead } = owner.publication;
    if (name !== 'relay.heartbeat') owner.publication.number += 1;
    const id = randomUUID();
    const envelope = {
      specversion: '1.0',
      id,
      source: `/promopulse/${owner === users ? 'users' : 'promotions'}`,
      type: `promopulse.${name}.v1`,
      subject: String((data as { id?: number } | null)?.id ?? 'promotions'),
      time: new Date().toISOString(),
      datacontenttype: 'application/json',
      epoch,
      lead,
      sequencenumber: owner.publication.number,
      data,
      ...attributes,
    };
    await announceRaw({ id, routingKey: name, body: JSON.stringify(envelope) });
  };
  const projection: Scene['projection'] = async (owner = 'promotions') =>
    (await service.internal.get('/health')).body.projections?.[owner];
  const beat: Scene['beat'] = async (secondsAgo = 0) => {
    const [row] = await service.sql<{ now: Date }>('select now() as now');
    const watermark = new Date(Number(row?.now) - secondsAgo * 1000).toISOString();
    await send('relay.heartbeat', { service: 'promotions', watermark, position: promotions.publication.position });
  };
  // Before the first reading every subscribe asks the owners, which a busy machine may not answer in time.
  await eventually(async () => {
    for (const owner of ['users', 'promotions'] as const)
      expect(await projection(owner)).toMatchObject({ reconciled: true });
  });
  return {
    ...service,
    users,
    promotions,
    announce: async (name, data) => {
      const owner = name.startsWith('user.') ? users : promotions;
      const state = data as State;
      if (name === 'user.deleted') owner.states.delete(state.id);
      else if (state.version > (owner.states.get(state.id)?.version ?? 0)) owner.states.set(state.id, state);
      await send(name, data);
    },
    send,
    announceRaw,
    beat,
    fresh: () =>
      eventually(async () => {
        await beat();
        expect(await projection()).toMatchObject({ reconciled: true, behind_seconds: expect.any(Number) });
        expect((await projection()).behind_seconds).toBeLessThan(1);
        expect(await projection('users')).toMatchObject({ reconciled: true });
      }),
    projection,
    cachedPromotion: async (id) =>
      (
        await service.sql('select status, version from subscriptions.cached_promotions where promotion_id = $1', [id])
      )[0],
    subscribe: (userId, promotionId) =>
      service.api.post('/subscriptions', { user_id: userId, promotion_id: promotionId }),
    close: async () => {
      await publisher.close();
      await service.close();
      await users.close();
      await promotions.close();
    },
  };
}

/** The state of a promotion as its events carry it: what this service uses, and some of what it does not. */
export function promotionState(id: number, status: PromotionStatus, version: number) {
  const time = '2026-06-01T00:00:00Z';
  return {
    id,
    version,
    status,
    name: 'Sale',
    description: null,
    start_at: time,
    end_at: '2026-07-01T00:00:00Z',
    created_at: time,
    updated_at: time,
    created_by: null,
  };
}
