// What a good engineer writes by hand on Express and pg, without the project's layers: three routes, input checked by
// hand, one prepared statement each with the outbox row in it, one log line per request, a problem as the answer to
// what is wrong. Not in it, but in ours: the reason when nothing is inserted, request ids that are echoed, an OpenAPI
// document, health, a relay (the service's own publishes what this writes), a tidy end, time-outs.
import { randomUUID } from 'node:crypto';
import express, { type Request, type Response } from 'express';
import pg from 'pg';
import { pino } from 'pino';
import { cursorAfter, getPromotion, insertSubscription, listByUser, theBeginning } from './statements.ts';

const { PORT, PROMOTIONS_URL, SUBSCRIPTIONS_URL } = process.env;
const log = pino();
const promotions = new pg.Pool({ connectionString: PROMOTIONS_URL, max: 5 });
const subscriptions = new pg.Pool({ connectionString: SUBSCRIPTIONS_URL, max: 5 });

const app = express();
app.disable('x-powered-by');
app.disable('etag');

app.use((request, response, next) => {
  const start = performance.now();
  response.on('finish', () => {
    const duration_ms = performance.now() - start;
    log.info({ method: request.method, path: request.path, status: response.statusCode, duration_ms }, 'request');
  });
  next();
});

const isId = (value: unknown): value is number =>
  Number.isInteger(value) && Number(value) >= 1 && Number(value) < 2 ** 31;
const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);

function refuse(response: Response, status: number, detail: string): void {
  response
    .status(status)
    .type('application/problem+json')
    .send(JSON.stringify({ type: 'about:blank', status, detail }));
}

app.get('/promotions/:id', async (request, response) => {
  const id = Number(request.params.id);
  if (!isId(id)) return refuse(response, 422, 'id must be an integer');
  const { rows } = await promotions.query({ ...getPromotion, values: [id] });
  if (!rows[0]) return refuse(response, 404, 'Promotion not found');
  const { version: _internal, ...promotion } = rows[0];
  response.json(promotion);
});

app.get('/subscriptions', async (request, response) => {
  const user = Number(request.query.user_id);
  const limit = Number(request.query.limit ?? 100);
  const offset = Number(request.query.offset ?? 0);
  if (!isId(user)) return refuse(response, 422, 'user_id must be an integer');
  if (!isId(limit) || limit > 1_000 || !(offset >= 0)) return refuse(response, 422, 'limit or offset is wrong');
  const { rows } = await subscriptions.query({ ...listByUser, values: [user, limit + 1, offset, ...theBeginning] });
  const found = rows.filter(({ id }) => id !== null).slice(0, limit);
  const items = found.map(({ total: _total, ...item }) => item);
  const next_cursor = rows.length > limit ? cursorAfter(found.at(-1)) : null;
  response.json({ items, total: rows[0]?.total ?? 0, next_cursor });
});

app.post('/subscriptions', express.json({ limit: '64kb' }), async (request: Request, response: Response) => {
  const { user_id, promotion_id, metadata = null } = request.body ?? {};
  if (!isId(user_id)) return refuse(response, 422, 'user_id must be an integer');
  if (!isId(promotion_id)) return refuse(response, 422, 'promotion_id must be an integer');
  if (metadata !== null && !isObject(metadata)) return refuse(response, 422, 'metadata must be an object');
  const json = metadata && JSON.stringify(metadata);
  const values = [user_id, promotion_id, 5, json, randomUUID(), request.get('x-request-id') ?? randomUUID()];
  const { rows } = await subscriptions.query({ ...insertSubscription, values });
  if (!rows[0]) return refuse(response, 409, 'The subscription is not possible');
  response.status(201).json(rows[0]);
});

app.use((error: Error, _request: Request, response: Response, _next: () => void) => {
  log.error({ err: error }, 'unexpected error');
  refuse(response, 500, 'Something went wrong');
});

app.listen(Number(PORT), '127.0.0.1');
