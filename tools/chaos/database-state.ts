// The state of the databases and of the broker's dead letters, read as the administrator, bypassing every proxy.
import { setTimeout as sleep } from 'node:timers/promises';
import { type ServiceName, services } from '@promopulse/shared/contracts/services';
import { withClient } from '@promopulse/shared/database/provision';
import { openRabbitDeadLetters } from '@promopulse/shared/messaging/rabbitmq/dead-letters';

/** A row of an outbox. */
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

/** A row of a history: of which change of which promotion or user it is. */
export type HistoryRow = Pick<RecordedEvent, 'service' | 'subject' | 'request_id'>;

/** Why a row of a projection is not relied on. */
interface Reliance {
  /** The owner no longer has it. */
  lost: boolean;
  /** An event contradicts it, and the owner has not been asked yet. */
  doubted: boolean;
}

export interface DatabaseState {
  users: UserRow[];
  promotions: PromotionRow[];
  subscriptions: SubscriptionRow[];
  knownUsers: ({ id: number; version: number; deleted: boolean } & Reliance)[];
  cachedPromotions: ({ id: number; version: number; status: string } & Reliance)[];
  /** Rows that engagement holds otherwise than their owners. */
  heldByEngagement: { line: string; lost: boolean }[];
  /** What engagement has published last of each promotion. */
  rollups: { id: number; version: number }[];
  /** Owners that were not read again since their projection was invalidated. */
  unreconciled: string[];
  events: RecordedEvent[];
  histories: HistoryRow[];
  migrations: { service: ServiceName; names: string[] }[];
  /** Routing key and reason of each dead letter. */
  deadLetters: string[];
}

/** Where the state is read. */
export interface StateSource {
  rabbit: { url: string };
  /** Prefix of the exchange and queue names. */
  prefix: string;
  databaseUrl(): string;
}

const historyRows = `
  select 'users' as service, user_id::text as subject, request_id from users.user_history
  union all select 'promotions', promotion_id::text, request_id from promotions.promotion_history`;

const reliance = 'lost_at is not null as lost, doubted_at is not null as doubted';

/** @param same SQL condition on `owner` and `held`, of a row that is there */
const differenceSql = (owner: string, held: string, id: string, same: string): string => `
  select 'engagement, ${held} ' || coalesce(owner.id, held.${id}) as line, held.lost_at is not null as lost
  from ${owner} as owner full join engagement.${held} as held on held.${id} = owner.id
  where (${same} and held.lost_at is null and held.doubted_at is null) is not true`;

const engagementDifferences = [
  differenceSql(
    'promotions.promotions',
    'cached_promotions',
    'promotion_id',
    '(owner.version, owner.status, owner.end_at) = (held.version, held.status, held.end_at)',
  ),
  differenceSql('users.users', 'known_users', 'user_id', 'owner.version = held.version and not held.deleted'),
  differenceSql(
    'subscriptions.subscriptions',
    'known_subscriptions',
    'subscription_id',
    'owner.version = held.version',
  ),
].join(' union all ');

async function readDatabaseState({ rabbit, prefix, databaseUrl }: StateSource): Promise<DatabaseState> {
  const store = await openRabbitDeadLetters({ url: rabbit.url }, { prefix });
  const deadLetters = (await store.list()).map(({ routingKey, reason }) => `${routingKey}: ${reason}`);
  await store.close();
  return await withClient(databaseUrl(), async (client) => {
    const all = async <Row extends object>(text: string): Promise<Row[]> => (await client.query<Row>(text)).rows;
    const events: RecordedEvent[] = [];
    const migrations: DatabaseState['migrations'] = [];
    for (const service of services) {
      const columns = 'name, subject, data, request_id, created_at, published_at is not null as published';
      const rows = await all<Omit<RecordedEvent, 'service'>>(`select ${columns} from ${service}.outbox order by id`);
      events.push(...rows.map((row) => ({ service, ...row })));
      const applied = await all<{ name: string }>(`select name from ${service}.mikro_orm_migrations`);
      migrations.push({ service, names: applied.map(({ name }) => name) });
    }
    const unreconciled = await all<{ service: string }>(
      `select service from subscriptions.projection_sources where reconciled_at is null
       union all select 'engagement, ' || service from engagement.projection_sources where reconciled_at is null`,
    );
    return {
      users: await all('select id, first_name, version from users.users order by id'),
      promotions: await all('select id, version, name, description, status from promotions.promotions order by id'),
      subscriptions: await all(
        'select id, version, user_id, promotion_id, is_active, created_at from subscriptions.subscriptions order by id',
      ),
      knownUsers: await all(
        `select user_id as id, version, deleted, ${reliance} from subscriptions.known_users order by id`,
      ),
      cachedPromotions: await all(
        `select promotion_id as id, version, status, ${reliance} from subscriptions.cached_promotions order by id`,
      ),
      heldByEngagement: await all(engagementDifferences),
      rollups: await all('select promotion_id as id, version from engagement.rollups order by id'),
      unreconciled: unreconciled.map(({ service }) => service),
      events,
      histories: await all(historyRows),
      migrations,
      deadLetters,
    };
  });
}

/**
 * Compares the projections with their owners. In these runs no owner loses a row for good, so a row that counts as lost
 * is a difference too, and so is one in doubt. @returns one line for each difference
 */
export function projectionDifferences(state: DatabaseState): string[] {
  const { users, promotions, knownUsers, cachedPromotions, heldByEngagement, unreconciled } = state;
  const owned = [
    ...users.map(({ id, version }) => `user ${id} version ${version}`),
    ...promotions.map(({ id, version, status }) => `promotion ${id} version ${version} ${status}`),
  ];
  const marks = ({ lost, doubted }: Reliance): string => `${lost ? ' lost' : ''}${doubted ? ' in doubt' : ''}`;
  const projected = [
    ...knownUsers.map((row) => `user ${row.id} version ${row.version}${row.deleted ? ' deleted' : ''}${marks(row)}`),
    ...cachedPromotions.map((row) => `promotion ${row.id} version ${row.version} ${row.status}${marks(row)}`),
  ];
  const [ownedLines, projectedLines] = [new Set(owned), new Set(projected)];
  return [
    ...owned.filter((line) => !projectedLines.has(line)).map((line) => `only in the owner: ${line}`),
    ...projected.filter((line) => !ownedLines.has(line)).map((line) => `only in the projection: ${line}`),
    ...heldByEngagement.map(({ line }) => `not as its owner has it: ${line}`),
    ...unreconciled.map((owner) => `not read again after an invalidation: ${owner}`),
  ];
}

/** The state without what the projections mark as lost: after a restore these rows are expected, and the caller checks them. */
export function withoutLostRows(state: DatabaseState): DatabaseState {
  const isKept = ({ lost }: Pick<Reliance, 'lost'>): boolean => !lost;
  return {
    ...state,
    knownUsers: state.knownUsers.filter(isKept),
    cachedPromotions: state.cachedPromotions.filter(isKept),
    heldByEngagement: state.heldByEngagement.filter(isKept),
  };
}

/** The state without the projections of engagement: nobody keeps them while it does not run. */
export function withoutEngagement(state: DatabaseState): DatabaseState {
  const unreconciled = state.unreconciled.filter((source) => !source.startsWith('engagement'));
  return { ...state, heldByEngagement: [], unreconciled };
}

/** Every outbox is published and the projections equal their owners. */
function isQuiet(state: DatabaseState): boolean {
  return state.events.every(({ published }) => published) && projectionDifferences(state).length === 0;
}

/**
 * Call it after the last write. `quietAfterMs` is undefined when the services are not quiet within `timeoutMs`.
 * `compared` leaves out what is no difference in this run.
 */
export async function waitForQuiet(
  source: StateSource,
  { everyMs = 500, timeoutMs = 60_000, compared = (state: DatabaseState): DatabaseState => state } = {},
): Promise<{ databaseState: DatabaseState; quietAfterMs: number | undefined }> {
  const startedAt = Date.now();
  for (;;) {
    const databaseState = await readDatabaseState(source);
    if (isQuiet(compared(databaseState))) return { databaseState, quietAfterMs: Date.now() - startedAt };
    if (Date.now() - startedAt > timeoutMs) return { databaseState, quietAfterMs: undefined };
    await sleep(everyMs);
  }
}
