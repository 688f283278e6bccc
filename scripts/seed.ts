// `npm run seed`: demonstration data through the API of BASE_URL, or of this machine's port PORT (8000), so that lists and
// pages have something to show. With AUTH=required it sends the key in API_KEY. It can be repeated: users are found by
// their email, promotions by their name, events by their id, and what is there already is left as it is. Events of the
// last week go through the API, older ones into the database of `npm start` (or of DATABASE_URL).
import { randomUUID } from 'node:crypto';
import { resolve } from 'node:path';
import { retryingFetch } from '@promopulse/client/retry';
import { type DemoPromotion, type DemoUser, demoPromotions, demoUsers } from '../local/demo-data.ts';
import { demoEvents, storeDemoEvents } from '../local/demo-events.ts';
import { useStackDatabase } from '../local/stack-database.ts';

interface Promotion {
  id: number;
  name: string;
  status: 'draft' | 'active' | 'ended';
  start_at: string;
  end_at: string;
}

interface Page<Item> {
  items: Item[];
  next_cursor: string | null;
}

// biome-ignore lint/suspicious/noExplicitAny: what the API answers is described by its OpenAPI document
type Body = any;

const { BASE_URL, DATABASE_URL, DATA_DIR, PORT } = process.env;
const dataDir = resolve(import.meta.dirname, '..', DATA_DIR || '.data');
let database: Awaited<ReturnType<typeof useStackDatabase>> | undefined;
const baseUrl = (BASE_URL || `http://localhost:${PORT || 8000}`).replace(/\/+$/, '');
const sendPatiently = retryingFetch({ attempts: 10 });
const steps = ['draft', 'active', 'ended'] as const;
const batchSize = 100;
const made = { users: 0, promotions: 0, subscriptions: 0, events: 0 };

try {
  await seed();
  const { users, promotions, subscriptions, events } = made;
  print(
    users + promotions + subscriptions + events === 0
      ? `Everything is at ${baseUrl} already.`
      : `Created at ${baseUrl}: ${users} of ${demoUsers.length} users, ${promotions} of ${demoPromotions.length} promotions, ` +
          `${subscriptions} subscriptions, ${events} events.`,
  );
} catch (error) {
  process.stderr.write(`The demonstration data is not complete. ${(error as Error).message}\n`);
  process.exitCode = 1;
} finally {
  await database?.stop();
}

async function seed(): Promise<void> {
  if (process.argv.length > 2) throw new Error('It takes no arguments. Another stack: BASE_URL=http://… npm run seed');
  if (!/^https?:\/\//.test(baseUrl))
    throw new Error(`BASE_URL must begin with http:// or https://, such as http://${baseUrl}.`);
  const { app, environment } = await call('GET', '/health', undefined, [404, 503]);
  if (app !== 'PromoPulse') throw new Error(`What answers at ${baseUrl} is no PromoPulse. Set PORT or BASE_URL.`);
  if (/^prod(uction)?$/i.test(environment)) throw new Error(`The environment of ${baseUrl} is ${environment}.`);
  const userIds = new Map<string, number>();
  for (const user of demoUsers) userIds.set(user.email, await findOrCreateUser(user));
  const existing = new Map((await allPromotions()).map((promotion) => [promotion.name, promotion]));
  for (const wanted of demoPromotions) {
    const promotion = existing.get(wanted.name) ?? (await createPromotion(wanted));
    await bringForward(promotion, wanted, userIds);
    if (wanted.status !== 'draft') await countTraffic(promotion);
  }
}

async function findOrCreateUser(user: DemoUser): Promise<number> {
  const found = await call('GET', `/users?email=${encodeURIComponent(user.email)}`);
  if (found.items.length > 0) return found.items[0].id;
  const { id, full_name } = await call('POST', '/users', user);
  made.users += 1;
  print(`user ${id}: ${full_name}`);
  return id;
}

async function allPromotions(): Promise<Promotion[]> {
  const promotions: Promotion[] = [];
  for (let cursor: string | null = ''; cursor !== null; ) {
    const page: Page<Promotion> = await call('GET', `/promotions?limit=100${cursor && `&cursor=${cursor}`}`);
    promotions.push(...page.items);
    cursor = page.next_cursor;
  }
  return promotions;
}

async function createPromotion({ name, description, startsInDays, endsInDays }: DemoPromotion): Promise<Promotion> {
  const times = { start_at: daysFromToday(startsInDays), end_at: daysFromToday(endsInDays) };
  const promotion = await call('POST', '/promotions', { name, description, ...times });
  made.promotions += 1;
  print(`promotion ${promotion.id}: ${name}`);
  return promotion;
}

/** Views, clicks and redemptions of the last month. */
async function countTraffic(promotion: Promotion): Promise<void> {
  const { recent, older } = demoEvents(promotion);
  for (let first = 0; first < recent.length; first += batchSize) {
    const { receipts } = await call('POST', '/events', recent.slice(first, first + batchSize));
    made.events += receipts.filter(({ status }: { status: string }) => status === 'accepted').length;
  }
  const url = await engagementUrl();
  if (url && older.length > 0) made.events += await storeDemoEvents(url, older);
}

/** @returns undefined for a stack of which only the API is known */
async function engagementUrl(): Promise<string | undefined> {
  if (BASE_URL && !DATABASE_URL) return undefined;
  database ??= await useStackDatabase({ env: process.env, dataDir, print: () => undefined });
  return database.urls.engagement;
}

function daysFromToday(days: number): string {
  const today = new Date();
  return new Date(Date.UTC(today.getUTCFullYear(), today.getUTCMonth(), today.getUTCDate() + days)).toISOString();
}

/** Moves the promotion on to the wanted status, and subscribes its users while it is active. It never goes back. */
async function bringForward(
  { id, status }: Promotion,
  wanted: DemoPromotion,
  userIds: ReadonlyMap<string, number>,
): Promise<void> {
  const last = steps.indexOf(wanted.status);
  for (let step = steps.indexOf(status); step <= last; step += 1) {
    if (steps[step] !== status) await call('POST', `/promotions/${id}/status`, { status: steps[step] });
    if (steps[step] === 'active') {
      for (const [email, userId] of userIds) await subscribe(userId, id, wanted, email);
    }
  }
}

async function subscribe(userId: number, promotionId: number, wanted: DemoPromotion, email: string): Promise<void> {
  if (!wanted.subscribers?.includes(email)) return;
  const body = { user_id: userId, promotion_id: promotionId, metadata: { source: 'seed' } };
  const subscription = await call('POST', '/subscriptions', body, [409]);
  if (subscription.id === undefined) return; // 409: subscribed before
  made.subscriptions += 1;
  if (wanted.left?.includes(email)) await call('PATCH', `/subscriptions/${subscription.id}/deactivate`);
}

/** @returns the body. Requests that the API asks to repeat are repeated, after the time in Retry-After. */
async function call(method: string, path: string, body?: object, accepted: number[] = []): Promise<Body> {
  const response = await send(method, path, body);
  const isJson = /json/.test(response.headers.get('content-type') ?? '');
  const answer: Body = isJson ? await response.json() : { detail: 'no JSON' };
  if (response.ok || accepted.includes(response.status)) return answer;
  throw new Error(`${method} ${path.replace(/\?.*/, '')} was answered with ${response.status}: ${answer.detail}`);
}

async function send(method: string, path: string, body: object | undefined): Promise<Response> {
  try {
    const headers = {
      'idempotency-key': randomUUID(), // a lost answer is asked for again
      ...(body && { 'content-type': 'application/json' }),
      ...(process.env.API_KEY && { authorization: `Bearer ${process.env.API_KEY}` }),
    };
    return await sendPatiently(
      new Request(`${baseUrl}${path}`, { method, headers, ...(body && { body: JSON.stringify(body) }) }),
    );
  } catch {
    throw new Error(`No PromoPulse answers at ${baseUrl}. Start it with npm start, or set BASE_URL.`);
  }
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
