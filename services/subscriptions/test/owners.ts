// The other services as the tests of subscriptions need them: two stub owners that answer over HTTP what a test sets,
// and a publisher of their events on the real broker.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from '@jest/globals';
import type { EventDataOf, EventName } from '@promopulse/shared/contracts/index';
import type { PromotionStatus } from '@promopulse/shared/contracts/promotions';
import { bucketSize } from '@promopulse/shared/contracts/snapshot';
import type { OutgoingMessage } from '@promopulse/shared/messaging/broker';
import { connectRabbit } from '@promopulse/shared/messaging/rabbitmq/broker';
import { brokerOptions } from '@promopulse/shared/service/service-broker';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import type { ClientResponse, Wire } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { amqpUrl } from '@promopulse/testing/servers';
import { startTestService, type TestService } from '@promopulse/testing/service';
import { subscriptions } from '../src/service.ts';

interface State {
  id: number;
  version: number;
  status?: string;
}

interface StubOwner {
  url: string;
  states: Map<number, State>;
  /** Ids of rows that have not changed of late. A delta has all others. */
  unchanged: Set<number>;
  /** What its relay states: the life of its database, its lead, its last number, and the last id of its outbox. */
  publication: { epoch: string; lead: string; number: number; position: number };
  /** How it answers: `up`, `failing` (500), `hanging` (never), `late` (300 ms after it has read), or milliseconds before it reads. */
  mood: 'up' | 'failing' | 'hanging' | 'late' | number;
  /** An answer to a request for one id instead of its own. */
  stranger: { status: number; type: string; body: string } | undefined;
  /** Requests for one id so far. */
  asked: number;
  /** Requests for pages, as text: their parameters. */
  pages: string[];
  close(): Promise<void>;
}

async function startOwner(): Promise<StubOwner> {
  const states = new Map<number, State>();
  const server = createServer(async (request, response) => {
    const url = new URL(String(request.url), 'http://owner');
    const id = Number(/\/(\d+)$/.exec(url.pathname)?.[1]);
    if (id) owner.asked += 1;
    else owner.pages.push(url.pathname.endsWith('digests') ? 'digests' : url.search);
    if (owner.mood === 'hanging') return;
    if (typeof owner.mood === 'number') await sleep(owner.mood);
    const found = id ? states.get(id) : snapshotAnswer(owner, url);
    if (owner.mood === 'late') await sleep(300);
    if (id && owner.stranger) {
      response.statusCode = owner.stranger.status;
      response.setHeader('content-type', owner.stranger.type).end(owner.stranger.body);
      return;
    }
    response.statusCode = owner.mood === 'failing' ? 500 : found ? 200 : 404;
    response.setHeader('content-type', found ? 'application/json' : 'application/problem+json');
    response.end(JSON.stringify(found ?? { status: 404, code: 'not_found' }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const owner: StubOwner = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    states,
    unchanged: new Set(),
    publication: { epoch: randomUUID(), lead: randomUUID(), number: 0, position: 1 },
    mood: 'up',
    stranger: undefined,
    asked: 0,
    pages: [],
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return owner;
}

/** A page, or digests that equal nobody's: the reader then reads every bucket that has a row. */
function snapshotAnswer({ states, unchanged, publication: { epoch, position } }: StubOwner, url: URL): object {
  const read = { epoch, position, read_at: new Date().toISOString() };
  const sorted = [...states.values()].sort((a, b) => a.id - b.id);
  const parameter = (name: string) => url.searchParams.get(name);
  if (url.pathname.endsWith('/digests')) {
    const from = Number(parameter('from_bucket'));
    const buckets = Map.groupBy(sorted, ({ id }) => Math.floor(id / bucketSize));
    const items = [...buckets]
      .filter(([bucket]) => bucket >= from && bucket < from + Number(parameter('limit')))
      .map(([bucket, { length: count }]) => ({ bucket, count, digest: 'of a stub' }));
    return { ...read, last_bucket: Math.max(-1, ...buckets.keys()), items };
  }
  if (!(Number(parameter('after_id')) >= 0)) throw new Error('after_id must not be negative');
  const ids = parameter('ids')?.split(',').map(Number);
  const page = sorted
    .filter(({ id }) => id > Number(parameter('after_id')) && id <= Number(parameter('up_to_id') ?? Infinity))
    .filter(({ id }) => (ids ? ids.includes(id) : true))
    .filter(({ id }) => (parameter('changed_since') ? !unchanged.has(id) : true));
  return { ...read, items: page.slice(0, Number(parameter('limit'))) };
}

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
