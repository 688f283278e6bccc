// What the databases and the broker say once everything is quiet: read past every link, as the administrator.
import { setTimeout as sleep } from 'node:timers/promises';
import { type ServiceName, services } from '@promopulse/shared/contracts/services';
import { withClient } from '@promopulse/shared/database/provision';
import { openRabbitDeadLetters } from '@promopulse/shared/messaging/rabbitmq/dead-letters';
import type { Stack } from './stack.ts';

export interface RecordedEvent {
  service: ServiceName;
  name: string;
  subject: string;
  data: { id: number; version: number } & Record<string, unknown>;
  request_id: string;
  created_at: Date;
  published: boolean;
}

interface UserRow {
  id: number;
  first_name: string;
  version: number;
}
interface PromotionRow {
  id: number;
  version: number;
  name: string;
  description: string | null;
  status: string;
}
interface SubscriptionRow {
  id: number;
  version: number;
  user_id: number;
  promotion_id: number;
  is_active: boolean;
  created_at: Date;
}

export interface Facts {
  users: UserRow[];
  promotions: PromotionRow[];
  subscriptions: SubscriptionRow[];
  knownUsers: { id: number; version: number; deleted: boolean }[];
  cachedPromotions: { id: number; version: number; status: string }[];
  /** How often an event was set aside, by what the projections wrote down. */
  invalidations: number;
  events: RecordedEvent[];
  migrations: { service: ServiceName; names: string[] }[];
  deadLetters: string[];
}

export interface ShownUser {
  id: number;
  email: string;
  phone?: string;
}

/** What only the API can say. */
export interface Shown {
  users: ShownUser[];
  /** Of each promotion, by `GET /subscriptions`: how many, and how many of them active. */
  totals: { promotion_id: number; all: number; active: number }[];
}

const askedAtOnce = 8;

/** Of a mesh that is quiet: an answer other than 200 is asked for again, for up to 30 s. */
export async function readShown(url: string, { users, promotions }: Facts): Promise<Shown> {
  const totalOf = async (query: string): Promise<number> =>
    (await get<{ total: number }>(`${url}/subscriptions?limit=1&${query}`)).total;
  return {
    users: await inParallel(users, ({ id }) => get<ShownUser>(`${url}/users/${id}`)),
    totals: await inParallel(promotions, async ({ id }) => ({
      promotion_id: id,
      all: await totalOf(`promotion_id=${id}`),
      active: await totalOf(`promotion_id=${id}&is_active=true`),
    })),
  };
}

async function inParallel<Item, Result>(items: readonly Item[], work: (item: Item) => Promise<Result>) {
  const left = items.entries();
  const results: Result[] = [];
  const one = async (): Promise<void> => {
    for (const [index, item] of left) results[index] = await work(item);
  };
  await Promise.all(Array.from({ length: askedAtOnce }, one));
  return results;
}

async function get<Body>(url: string): Promise<Body> {
  for (const deadline = Date.now() + 30_000; ; ) {
    const answer = await fetch(url, { signal: AbortSignal.timeout(10_000) });
    const body = (await answer.json()) as Body;
    if (answer.status === 200) return body;
    if (Date.now() > deadline) throw new Error(`${answer.status} from ${url} while the mesh is quiet`);
    await sleep(500);
  }
}

interface Place extends Pick<Stack, 'prefix' | 'databaseUrl'> {
  rabbit: { url: string };
}

async function readFacts(stack: Place): Promise<Facts> {
  const letters = await openRabbitDeadLetters(stack.rabbit.url, { prefix: stack.prefix });
  const deadLetters = (await letters.list()).map(({ routingKey, reason }) => `${routingKey}: ${reason}`);
  await letters.close();
  return await withClient(stack.databaseUrl(), async (client) => {
    const all = async <Row extends object>(text: string): Promise<Row[]> => (await client.query<Row>(text)).rows;
    const events: RecordedEvent[] = [];
    const migrations: Facts['migrations'] = [];
    for (const service of services) {
      const columns = 'name, subject, data, request_id, created_at, published_at is not null as published';
      const rows = await all<Omit<RecordedEvent, 'service'>>(`select ${columns} from ${service}.outbox order by id`);
      events.push(...rows.map((row) => ({ service, ...row })));
      const applied = await all<{ name: string }>(`select name from ${service}.mikro_orm_migrations`);
      migrations.push({ service, names: applied.map(({ name }) => name) });
    }
    const sources = await all<{ invalidations: number }>('select invalidations from subscriptions.projection_sources');
    return {
      users: await all('select id, first_name, version from users.users order by id'),
      promotions: await all('select id, version, name, description, status from promotions.promotions order by id'),
      subscriptions: await all(
        'select id, version, user_id, promotion_id, is_active, created_at from subscriptions.subscriptions order by id',
      ),
      knownUsers: await all('select user_id as id, version, deleted from subscriptions.known_users order by id'),
      cachedPromotions: await all(
        'select promotion_id as id, version, status from subscriptions.cached_promotions order by id',
      ),
      invalidations: sources.reduce((sum, row) => sum + row.invalidations, 0),
      events,
      migrations,
      deadLetters,
    };
  });
}

/** What the projections hold differently from their owners, one line per row. */
export function differences({ users, promotions, knownUsers, cachedPromotions }: Facts): string[] {
  const owned = [
    ...users.map(({ id, version }) => `user ${id} version ${version}`),
    ...promotions.map(({ id, version, status }) => `promotion ${id} version ${version} ${status}`),
  ];
  const remembered = [
    ...knownUsers.map(({ id, version, deleted }) => `user ${id} version ${version}${deleted ? ' deleted' : ''}`),
    ...cachedPromotions.map(({ id, version, status }) => `promotion ${id} version ${version} ${status}`),
  ];
  const [left, right] = [new Set(owned), new Set(remembered)];
  return [
    ...owned.filter((line) => !right.has(line)).map((line) => `owner has, projection has not: ${line}`),
    ...remembered.filter((line) => !left.has(line)).map((line) => `projection has, owner has not: ${line}`),
  ];
}

/** Nothing waits any more: outboxes published, projections caught up. */
function isQuiet(facts: Facts): boolean {
  return facts.events.every(({ published }) => published) && differences(facts).length === 0;
}

/** Call it once nobody writes any more. `quietAfterMs` is undefined when the mesh is not quiet within `withinMs`. */
export async function waitForQuiet(
  stack: Place,
  { everyMs = 500, withinMs = 60_000 } = {},
): Promise<{ facts: Facts; quietAfterMs: number | undefined }> {
  const since = Date.now();
  for (;;) {
    const facts = await readFacts(stack);
    if (isQuiet(facts)) return { facts, quietAfterMs: Date.now() - since };
    if (Date.now() - since > withinMs) return { facts, quietAfterMs: undefined };
    await sleep(everyMs);
  }
}
