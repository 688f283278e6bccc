// The requests that are measured: what is sent, which service answers, the statement behind it, and the goals.
import { randomUUID } from 'node:crypto';
import type { ServiceName } from '@promopulse/shared/contracts/services';
import { findPromotion } from '../../services/promotions/src/queries.ts';
import { insertIfAllowed, listSubscriptions } from '../../services/subscriptions/src/queries.ts';
import { emailOf, metadata, type Sizes, subscriptionsPerUser } from './data.ts';
import type { PeerName } from './peers.ts';
import { type PgbenchScript, statementOf } from './pgbench.ts';
import type { Target } from './wrk.ts';

/** Also the names that --only takes. */
export const endpointNames = [
  'post',
  'get',
  'list',
  'create-user',
  'create-promotion',
  'get-user',
  'find-user',
] as const;
export type EndpointName = (typeof endpointNames)[number];

export interface Endpoint {
  title: string;
  /** Answers the request. Its database role runs the statement. */
  service: ServiceName;
  /** Whether requests write rows, which are deleted before each round. */
  writes: boolean;
  /** Whether it is also measured through the gateway. */
  throughGateway: boolean;
  request(sizes: Sizes): Omit<Target, 'url'>;
  /** The same work by pgbench. Absent where it is not only one statement: an email is encrypted before it is stored. */
  script?(sizes: Sizes): Promise<PgbenchScript>;
  goals: {
    /** Minimum ratio of the service's requests per second to those of a server written by hand. */
    peers: Partial<Record<PeerName, number>>;
    /** Minimum ratios of the requests per second, direct and through the gateway, to pgbench's transactions. */
    pgbench?: number;
    gatewayToPgbench?: number;
    /** Maximum CPU time of the service per request, in milliseconds. */
    serviceCpuMs?: number;
  };
}

const pageSize = 20;
/** Pairs of two such random numbers hardly ever repeat. */
const manyNumbers = 1_000_000_000;

export const endpoints: Record<EndpointName, Endpoint> = {
  post: {
    title: 'POST /subscriptions',
    service: 'subscriptions',
    writes: true,
    throughGateway: true,
    request: ({ users, promotions }) => {
      const body = `{"user_id":{a},"promotion_id":{b},"metadata":${metadata}}`;
      return { method: 'POST', path: '/subscriptions', body, a: users, b: promotions };
    },
    script: async ({ users, promotions }) => {
      const subscription = { user_id: 1, promotion_id: 1, metadata: JSON.parse(metadata) };
      const event = { eventId: randomUUID(), requestId: randomUUID() };
      return {
        statement: await statementOf((database) => insertIfAllowed(database, subscription, 5, event)),
        values: [':user', ':promotion', '5', `'${metadata}'`, 'gen_random_uuid()', 'gen_random_uuid()::text'],
        set: { user: `random(1, ${users})`, promotion: `random(1, ${promotions})` },
      };
    },
    goals: { peers: { Express: 0.9, Fastify: 0.8 }, pgbench: 0.4, gatewayToPgbench: 0.25 },
  },
  get: {
    title: 'GET /promotions/{id}',
    service: 'promotions',
    writes: false,
    throughGateway: true,
    request: ({ promotions }) => ({ method: 'GET', path: '/promotions/{a}', a: promotions }),
    script: async ({ promotions }) => {
      const statement = await statementOf((database) => findPromotion(database, 1));
      return { statement, values: [':id'], set: { id: `random(1, ${promotions})` } };
    },
    goals: { peers: { Express: 0.9, Fastify: 0.8 }, pgbench: 0.25 },
  },
  list: {
    title: 'GET /subscriptions?user_id=',
    service: 'subscriptions',
    writes: false,
    throughGateway: true,
    request: ({ subscriptions }) => {
      const path = `/subscriptions?user_id={a}&limit=${pageSize}`;
      return { method: 'GET', path, a: subscriptions / subscriptionsPerUser };
    },
    script: async ({ subscriptions }) => {
      const page = { by: 'user', id: 1, limit: pageSize, offset: 0 } as const;
      return {
        statement: await statementOf((database) => listSubscriptions(database, page)),
        values: [':id', String(pageSize + 1), '0', "'infinity'", '0'],
        set: { id: `random(1, ${subscriptions / subscriptionsPerUser})` },
      };
    },
    goals: { peers: { Express: 0.9, Fastify: 0.8 }, pgbench: 0.3 },
  },
  'create-user': {
    title: 'POST /users',
    service: 'users',
    writes: true,
    throughGateway: false,
    request: () => {
      const body = '{"first_name":"Ada","last_name":"Lovelace","email":"ada.{a}.{b}@example.com"}';
      return { method: 'POST', path: '/users', body, a: manyNumbers, b: manyNumbers };
    },
    goals: { peers: { Express: 0.9 }, serviceCpuMs: 0.8 },
  },
  'create-promotion': {
    title: 'POST /promotions',
    service: 'promotions',
    writes: true,
    throughGateway: false,
    request: () => {
      const period = '"start_at":"2026-06-01T00:00:00Z","end_at":"2026-06-30T23:59:59Z"';
      const body = `{"name":"Summer Sale {a}","description":"Get 20% off",${period}}`;
      return { method: 'POST', path: '/promotions', body, a: manyNumbers };
    },
    goals: { peers: { Express: 0.9 }, serviceCpuMs: 0.8 },
  },
  'get-user': {
    title: 'GET /users/{id}',
    service: 'users',
    writes: false,
    throughGateway: false,
    request: ({ users }) => ({ method: 'GET', path: '/users/{a}', a: users }),
    goals: { peers: { Express: 0.9 } },
  },
  'find-user': {
    title: 'GET /users?email=',
    service: 'users',
    writes: false,
    throughGateway: false,
    request: ({ users }) => ({ method: 'GET', path: `/users?email=${emailOf('{a}')}`, a: users }),
    goals: { peers: { Express: 0.9 } },
  },
};

export function targetOf(name: EndpointName, url: string, sizes: Sizes): Target {
  return { url, ...endpoints[name].request(sizes) };
}
