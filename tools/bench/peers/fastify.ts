// Three of the routes by hand on Fastify and pg: its JSON schemas check the input and serialize the responses, and its
// own logger writes one line per request. express.ts says what both peers leave out.
import { randomUUID } from 'node:crypto';
import { typeParsers } from '@promopulse/shared/database/prepared';
import Fastify from 'fastify';
import pg from 'pg';
import { createSubscription, cursorAfter, firstPage, getPromotion, listByUser } from './statements.ts';

const { PORT, PROMOTIONS_URL, SUBSCRIPTIONS_URL } = process.env;
const promotions = new pg.Pool({ connectionString: PROMOTIONS_URL, max: 5, types: typeParsers });
const subscriptions = new pg.Pool({ connectionString: SUBSCRIPTIONS_URL, max: 5, types: typeParsers });

const app = Fastify({ logger: true, disableRequestLogging: true, bodyLimit: 65_536 });

app.addHook('onResponse', async (request, reply) => {
  const { method, url: path } = request;
  request.log.info({ method, path, status: reply.statusCode, duration_ms: reply.elapsedTime }, 'request');
});

const id = { type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER } as const;
const time = { type: 'string', format: 'date-time' } as const;
const subscription = {
  type: 'object',
  properties: {
    id,
    user_id: id,
    promotion_id: id,
    is_active: { type: 'boolean' },
    metadata: { type: ['object', 'null'], additionalProperties: true },
    created_at: time,
  },
} as const;
const promotion = {
  type: 'object',
  properties: {
    id,
    name: { type: 'string' },
    description: { type: ['string', 'null'] },
    status: { type: 'string' },
    start_at: time,
    end_at: time,
    created_at: time,
    updated_at: time,
    created_by: { type: ['integer', 'null'] },
  },
} as const;
const problem = (status: number, detail: string) => ({ type: 'about:blank', status, detail });

app.get<{ Params: { id: number } }>(
  '/promotions/:id',
  { schema: { params: { type: 'object', properties: { id }, required: ['id'] }, response: { 200: promotion } } },
  async (request, reply) => {
    const { rows } = await promotions.query({ ...getPromotion, values: [request.params.id] });
    if (rows[0]) return rows[0];
    return reply.code(404).type('application/problem+json').send(problem(404, 'Promotion not found'));
  },
);

const page = {
  user_id: id,
  limit: { type: 'integer', minimum: 1, maximum: 1_000, default: 100 },
  offset: { type: 'integer', minimum: 0, default: 0 },
} as const;
const list = {
  type: 'object',
  properties: {
    items: { type: 'array', items: subscription },
    total: { type: 'integer' },
    next_cursor: { type: ['string', 'null'] },
  },
} as const;

app.get<{ Querystring: { user_id: number; limit: number; offset: number } }>(
  '/subscriptions',
  { schema: { querystring: { type: 'object', properties: page, required: ['user_id'] }, response: { 200: list } } },
  async ({ query: { user_id, limit, offset } }) => {
    const { rows } = await subscriptions.query({
      ...listByUser,
      values: [user_id, limit + 1, offset, ...firstPage],
    });
    const items = rows.filter((row) => row.id !== null).slice(0, limit);
    const next_cursor = rows.length > limit ? cursorAfter(items.at(-1)) : null;
    return { items, total: rows[0]?.total ?? 0, next_cursor };
  },
);

const newSubscription = {
  type: 'object',
  properties: { user_id: id, promotion_id: id, metadata: { type: ['object', 'null'], additionalProperties: true } },
  required: ['user_id', 'promotion_id'],
  additionalProperties: false,
} as const;

app.post<{ Body: { user_id: number; promotion_id: number; metadata?: object | null } }>(
  '/subscriptions',
  { schema: { body: newSubscription, response: { 201: subscription } } },
  async ({ body: { user_id, promotion_id, metadata }, headers }, reply) => {
    const json = metadata ? JSON.stringify(metadata) : null;
    const values = [user_id, promotion_id, 5, json, randomUUID(), headers['x-request-id'] ?? randomUUID(), null, null];
    const { rows } = await subscriptions.query({ ...createSubscription, values });
    if (rows[0]) return reply.code(201).send(rows[0]);
    return reply.code(409).type('application/problem+json').send(problem(409, 'The subscription is not possible'));
  },
);

await app.listen({ port: Number(PORT), host: '127.0.0.1' });
