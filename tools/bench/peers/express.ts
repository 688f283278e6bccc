// The same routes by hand on Express and pg, without the project's layers: input checked by hand, one prepared statement
// per request with the outbox row in it, one log line per request, problem details for errors. Personal data is checked
// and encrypted by the functions of the users service, because this is the same in every server.
// Absent here, but in ours: the reason when nothing was inserted, the echoed request id, an OpenAPI document, health, a
// graceful shutdown, timeouts, and a relay. The service's relay publishes these events.
import { randomUUID } from 'node:crypto';
import { typeParsers } from '@promopulse/shared/database/prepared';
import express, { type Request, type Response } from 'express';
import pg from 'pg';
import { pino } from 'pino';
import { checkEmail } from '../../../services/users/src/personal-data/email.ts';
import { createPersonalData } from '../../../services/users/src/personal-data/personal-data.ts';
import {
  createPromotion,
  createSubscription,
  createUser,
  cursorAfter,
  firstPage,
  getPromotion,
  getUser,
  getUserByEmail,
  listByUser,
} from './statements.ts';

const { PORT, USERS_URL, PROMOTIONS_URL, SUBSCRIPTIONS_URL } = process.env;
const { PII_ENCRYPTION_KEYS = '', PII_INDEX_KEY = '' } = process.env;
const log = pino();
const users = new pg.Pool({ connectionString: USERS_URL, max: 5, types: typeParsers });
const promotions = new pg.Pool({ connectionString: PROMOTIONS_URL, max: 5, types: typeParsers });
const subscriptions = new pg.Pool({ connectionString: SUBSCRIPTIONS_URL, max: 5, types: typeParsers });
const personalData = createPersonalData({ PII_ENCRYPTION_KEYS: PII_ENCRYPTION_KEYS.split(','), PII_INDEX_KEY });

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

const json = express.json({ limit: '64kb' });
const isId = (value: unknown): value is number =>
  Number.isInteger(value) && Number(value) >= 1 && Number(value) < 2 ** 31;
const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);
const isName = (value: unknown): value is string =>
  typeof value === 'string' && value.trim() !== '' && value.length <= 255 && !value.includes('\0');
const uniqueViolation = '23505';
const requestIdOf = (request: Request): string => request.get('x-request-id') ?? randomUUID();

function reject(response: Response, status: number, detail: string): void {
  response
    .status(status)
    .type('application/problem+json')
    .send(JSON.stringify({ type: 'about:blank', status, detail }));
}

interface UserRow {
  id: number;
  first_name: string;
  last_name: string;
  email_encrypted: string;
  phone_encrypted: string | null;
}

const presentUser = (user: UserRow) => ({
  id: user.id,
  full_name: `${user.first_name} ${user.last_name}`,
  first_name: user.first_name,
  last_name: user.last_name,
  email: personalData.decrypt(user.email_encrypted),
  ...(user.phone_encrypted && { phone: personalData.decrypt(user.phone_encrypted) }),
});

app.post('/users', json, async (request: Request, response: Response) => {
  const { first_name, last_name, email: address, phone = null } = request.body ?? {};
  if (!isName(first_name)) return reject(response, 422, 'first_name must have 1 to 255 characters');
  if (!isName(last_name)) return reject(response, 422, 'last_name must have 1 to 255 characters');
  if (phone !== null && !/^\+[1-9]\d{6,14}$/.test(phone)) return reject(response, 422, 'phone is not a number');
  const checked = typeof address === 'string' ? checkEmail(address) : { rule: 'must be a string' };
  if ('rule' in checked) return reject(response, 422, `email ${checked.rule}`);
  const { email } = checked;
  const encrypted = [personalData.encrypt(email), personalData.indexOf(email), phone && personalData.encrypt(phone)];
  const values = [first_name, last_name, ...encrypted, randomUUID(), requestIdOf(request), null, null, null];
  try {
    const { rows } = await users.query({ ...createUser, values });
    const names = { full_name: `${first_name} ${last_name}`, first_name, last_name };
    const user = { id: rows[0].id, ...names, email, ...(phone && { phone }) };
    response.status(201).location(`/users/${user.id}`).json(user);
  } catch (error) {
    if ((error as pg.DatabaseError).code !== uniqueViolation) throw error;
    reject(response, 409, 'User with this email already exists');
  }
});

app.get('/users', async (request, response) => {
  const address = request.query.email;
  const checked = typeof address === 'string' ? checkEmail(address) : { rule: 'must be given once' };
  if ('rule' in checked) return reject(response, 422, `email ${checked.rule}`);
  const { rows } = await users.query<UserRow>({ ...getUserByEmail, values: [personalData.indexOf(checked.email)] });
  response.json({ items: rows.map(presentUser), total: rows.length });
});

app.get('/users/:id', async (request, response) => {
  const id = Number(request.params.id);
  if (!isId(id)) return reject(response, 422, 'id must be an integer');
  const { rows } = await users.query<UserRow>({ ...getUser, values: [id] });
  if (!rows[0]) return reject(response, 404, 'User not found');
  response.json(presentUser(rows[0]));
});

app.post('/promotions', json, async (request: Request, response: Response) => {
  const { name, description = null, start_at, end_at } = request.body ?? {};
  if (!isName(name)) return reject(response, 422, 'name must have 1 to 255 characters');
  if (description !== null && (typeof description !== 'string' || description.length > 4_000)) {
    return reject(response, 422, 'description must have at most 4,000 characters');
  }
  const [start, end] = [new Date(start_at), new Date(end_at)];
  if (Number.isNaN(start.getTime())) return reject(response, 422, 'start_at must be a time');
  if (Number.isNaN(end.getTime())) return reject(response, 422, 'end_at must be a time');
  if (end <= start) return reject(response, 422, 'end_at must be after start_at');
  const cause = [randomUUID(), requestIdOf(request), null, null, null];
  const values = [name, description, start.toISOString(), end.toISOString(), ...cause];
  const { rows } = await promotions.query({ ...createPromotion, values });
  const { version: _internal, ...promotion } = rows[0];
  response.status(201).location(`/promotions/${promotion.id}`).json(promotion);
});

app.get('/promotions/:id', async (request, response) => {
  const id = Number(request.params.id);
  if (!isId(id)) return reject(response, 422, 'id must be an integer');
  const { rows } = await promotions.query({ ...getPromotion, values: [id] });
  if (!rows[0]) return reject(response, 404, 'Promotion not found');
  const { version: _internal, ...promotion } = rows[0];
  response.json(promotion);
});

app.get('/subscriptions', async (request, response) => {
  const user = Number(request.query.user_id);
  const limit = Number(request.query.limit ?? 100);
  const offset = Number(request.query.offset ?? 0);
  if (!isId(user)) return reject(response, 422, 'user_id must be an integer');
  if (!isId(limit) || limit > 1_000 || !(offset >= 0)) return reject(response, 422, 'limit or offset is not valid');
  const { rows } = await subscriptions.query({ ...listByUser, values: [user, limit + 1, offset, ...firstPage] });
  const found = rows.filter(({ id }) => id !== null).slice(0, limit);
  const items = found.map(({ total: _total, ...item }) => item);
  const next_cursor = rows.length > limit ? cursorAfter(found.at(-1)) : null;
  response.json({ items, total: rows[0]?.total ?? 0, next_cursor });
});

app.post('/subscriptions', json, async (request: Request, response: Response) => {
  const { user_id, promotion_id, metadata = null } = request.body ?? {};
  if (!isId(user_id)) return reject(response, 422, 'user_id must be an integer');
  if (!isId(promotion_id)) return reject(response, 422, 'promotion_id must be an integer');
  if (metadata !== null && !isObject(metadata)) return reject(response, 422, 'metadata must be an object');
  const metadataText = metadata && JSON.stringify(metadata);
  const values = [user_id, promotion_id, 5, metadataText, randomUUID(), requestIdOf(request), null, null];
  const { rows } = await subscriptions.query({ ...createSubscription, values });
  if (!rows[0]) return reject(response, 409, 'The subscription is not possible');
  const { version: _internal, ...subscription } = rows[0];
  response.status(201).json(subscription);
});

app.use((error: Error, _request: Request, response: Response, _next: () => void) => {
  log.error({ err: error }, 'unexpected error');
  reject(response, 500, 'Something went wrong');
});

app.listen(Number(PORT), '127.0.0.1');
