// The other services as the tests of subscriptions need them: two stub owners that answer over HTTP what a test sets,
// and a publisher of their events on the real broker.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type EventDataOf, type EventName, eventType } from '@promopulse/shared/contracts/index';
import type { PromotionStatus } from '@promopulse/shared/contracts/promotions';
import type { OutgoingMessage } from '@promopulse/shared/messaging/broker';
import { connectRabbit } from '@promopulse/shared/messaging/rabbitmq/broker';
import { brokerOptions } from '@promopulse/shared/service';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import type { ClientResponse, Wire } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { amqpUrl } from '@promopulse/testing/servers';
import { startTestService, type TestService } from '@promopulse/testing/service';
import { subscriptions } from '../src/service.ts';

interface State {
  id: number;
  version: number;
  status?: PromotionStatus;
}

interface StubOwner {
  url: string;
  states: Map<number, State>;
  /** How it answers: `up`, `failing` (500), `hanging` (never), `late` (300 ms after it has read), or milliseconds before it reads. */
  mood: 'up' | 'failing' | 'hanging' | 'late' | number;
  /** Requests for one id so far. */
  asked: number;
  close(): Promise<void>;
}

async function startOwner(): Promise<StubOwner> {
  const states = new Map<number, State>();
  const server = createServer(async (request, response) => {
    const url = new URL(String(request.url), 'http://owner');
    const id = Number(/\/(\d+)$/.exec(url.pathname)?.[1]);
    if (id) owner.asked += 1;
    if (owner.mood === 'hanging') return;
    if (typeof owner.mood === 'number') await sleep(owner.mood);
    const afterId = Number(url.searchParams.get('after_id'));
    const page = [...states.values()].filter((state) => state.id > afterId).sort((a, b) => a.id - b.id);
    const found = id ? states.get(id) : { items: page.slice(0, Number(url.searchParams.get('limit'))) };
    if (owner.mood === 'late') await sleep(300);
    response.statusCode = owner.mood === 'failing' ? 500 : found ? 200 : 404;
    response.setHeader('content-type', 'application/json').end(JSON.stringify(found ?? {}));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const owner: StubOwner = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    states,
    mood: 'up',
    asked: 0,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return owner;
}

type Promotion = ReturnType<typeof promotionState>;
type Announced = {
  [Name in EventName]: Name extends `promotion.${string}` ? Promotion : EventDataOf<Name>;
};

export interface Scene extends TestService {
  users: StubOwner;
  promotions: StubOwner;
  /** Sends an event as its owner's relay would; resolves when RabbitMQ has it. */
  announce<Name extends keyof Announced>(name: Name, data: Announced[Name], eventId?: string): Promise<void>;
  announceRaw(message: Partial<OutgoingMessage>): Promise<void>;
  /** A heartbeat of the promotions relay: all committed `secondsAgo` or earlier has been published. */
  beat(secondsAgo?: number): Promise<void>;
  cachedPromotion(id: number): Promise<{ status: string; version: number } | undefined>;
  subscribe(userId: number, promotionId: number): Promise<ClientResponse<Wire>>;
}

/** The real service on real Postgres and RabbitMQ, between two stub owners; `env` overrides its environment. */
export async function startScene(env: Record<string, string> = {}): Promise<Scene> {
  const users = await startOwner();
  const promotions = await startOwner();
  const service = await startTestService(subscriptions, {
    USERS_URL: users.url,
    PROMOTIONS_URL: promotions.url,
    ...env,
  });
  const log = createLogger({ service: 'test', level: 'silent' });
  const publisher = connectRabbit(amqpUrl(), brokerOptions(service.prefix, log));
  const announceRaw: Scene['announceRaw'] = (message) =>
    eventually(async () => {
      const whole = { id: randomUUID(), routingKey: 'promotion.created', body: '', mandatory: true, ...message };
      const [outcome] = await publisher.publish([whole]);
      if (outcome !== 'confirmed') throw new Error(`the event was ${outcome}`);
    });
  const announce: Scene['announce'] = async (name, data, eventId = randomUUID()) => {
    const envelope = {
      specversion: '1.0',
      id: eventId,
      source: '/promopulse/test',
      type: eventType(name),
      subject: 'test',
      time: new Date().toISOString(),
      datacontenttype: 'application/json',
      data,
    };
    await announceRaw({ id: eventId, routingKey: name, body: JSON.stringify(envelope) });
  };
  return {
    ...service,
    users,
    promotions,
    announce,
    announceRaw,
    beat: async (secondsAgo = 0) => {
      const [row] = await service.sql<{ now: Date }>('select now() as now');
      const watermark = new Date(Number(row?.now) - secondsAgo * 1000).toISOString();
      await announce('relay.heartbeat', { service: 'promotions', watermark });
    },
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
