// The statements on API keys. The clock is the database's in each of them, so that all replicas agree on what has expired.
import type { Database } from '@promopulse/shared/database/database';
import type { Statement } from '@promopulse/shared/database/prepared';
import type { NewKey } from './key-format.ts';

/** A key as callers see it. */
export interface KeyRow {
  id: string;
  name: string;
  hint: string;
  scopes: string[];
  former_expires_at: Date | null;
  expires_at: Date | null;
  revoked_at: Date | null;
  last_used_at: Date | null;
  created_by: string | null;
  created_at: Date;
  updated_at: Date;
}

/** What a gateway needs to know a key by its digest. Times are milliseconds since 1970. */
export interface KnownKeyRow {
  id: string;
  scopes: string[];
  digest: Buffer;
  former_digest: Buffer | null;
  former_expires_at: number | null;
  expires_at: number | null;
  is_revoked: boolean;
}

const columns =
  'id, name, hint, scopes, former_expires_at, expires_at, revoked_at, last_used_at, created_by, created_at, updated_at';

const isUsable = 'revoked_at is null and (expires_at is null or expires_at > clock_timestamp())';

/**
 * The key that makes a change, if it is one and still usable. The lock makes a revocation wait for the change, or the change
 * for the revocation: a key that is revoked makes no other key afterwards.
 * @param actor placeholder of the actor; null: an operator, by command
 * @param filter which keys it may be
 */
const usableCaller = (actor: string, filter = 'true'): string => `caller as (
  select expires_at from api_keys
  where id = substring(${actor}::text from '^key:(.+)$')::uuid and ${filter} and ${isUsable} for share
)`;

/** Whether the caller of `usableCaller` is no key, or a usable one. */
const callerMayChange = (actor: string): string =>
  `(coalesce(${actor}::text, '') not like 'key:%' or exists (select from caller))`;

const milliseconds = (time: string): string => `extract(epoch from ${time})::float * 1000`;

/** One row at least, so that the database's clock comes also when there is no key. */
const knownText = (filter: string): string => `
  select ${milliseconds('clock_timestamp()')} as now, known.* from (values (1)) as one
  left join lateral (
    select id, scopes, digest, former_digest, ${milliseconds('former_expires_at')} as former_expires_at,
      ${milliseconds('expires_at')} as expires_at, revoked_at is not null as is_revoked
    from api_keys where ${filter}
  ) as known on true`;

/** The page below an id, and the number of all keys, in one round trip. */
const listText = `
  select counted.total, page.* from (select count(*)::int as total from api_keys) as counted
  left join lateral (
    select ${columns} from api_keys where $3::uuid is null or id < $3::uuid order by id desc limit $1 offset $2
  ) as page on true
  order by page.id desc`;

const statements = {
  create: {
    name: 'key_create',
    text: `with ${usableCaller('$4')}
      insert into api_keys (name, scopes, expires_at, created_by, hint, digest)
      select $1, $2::text[], least($3::timestamptz, (select expires_at from caller)), $4, $5, $6::bytea
      where ${callerMayChange('$4')} returning ${columns}`,
  },
  createFirst: {
    name: 'key_create_first',
    text: `insert into api_keys (name, scopes, expires_at, created_by, hint, digest)
      select $1, $2::text[], $3::timestamptz, $4, $5, $6::bytea
      where not exists (
        select from api_keys where 'keys:manage' = any(scopes) and revoked_at is null
          and (expires_at is null or expires_at > clock_timestamp())
      )
      returning ${columns}`,
  },
  get: { name: 'key_get', text: `select ${columns} from api_keys where id = $1::uuid` },
  list: { name: 'key_list', text: listText },
  rotate: {
    name: 'key_rotate',
    // A key that changes itself has no lock of that kind: two of its changes at once would wait for each other.
    text: `with ${usableCaller('$5', 'id <> $1::uuid')}
      update api_keys
      set former_digest = digest, former_expires_at = clock_timestamp() + make_interval(secs => $4::int),
        hint = $2, digest = $3::bytea, updated_at = clock_timestamp()
      where id = $1::uuid and ${isUsable} and (${callerMayChange('$5')} or 'key:' || id = $5::text)
      returning ${columns}`,
  },
  revoke: {
    name: 'key_revoke',
    text: `with ${usableCaller('$2', 'id <> $1::uuid')}
      update api_keys
      set revoked_at = coalesce(revoked_at, clock_timestamp()),
        updated_at = case when revoked_at is null then clock_timestamp() else updated_at end
      where id = $1::uuid and (${callerMayChange('$2')} or 'key:' || id = $2::text) returning ${columns}`,
  },
  // A commit may carry a time that is older than the poll before it: hence a time that overlaps.
  changed: { name: 'keys_changed', text: knownText(`updated_at > clock_timestamp() - make_interval(secs => $1::int)`) },
  usable: {
    name: 'keys_usable',
    text: knownText(`revoked_at is null and (expires_at is null or expires_at > clock_timestamp())`),
  },
  /** Another replica may note the uses of the same keys at this moment: its rows are left to it. */
  noteUses: {
    name: 'key_uses',
    text: `update api_keys set last_used_at = used.at
      from (
        select uses.id, to_timestamp(uses.ms / 1000) as at
        from unnest($1::uuid[], $2::float[]) as uses(id, ms) join api_keys using (id)
        where api_keys.last_used_at is null or api_keys.last_used_at < to_timestamp(uses.ms / 1000)
        order by uses.id for update of api_keys skip locked
      ) as used
      where api_keys.id = used.id`,
  },
} satisfies Record<string, Statement>;

export interface KeyFields {
  name: string;
  scopes: readonly string[];
  /** Null: the key does not expire. */
  expires_at: Date | null;
  /** The actor who makes it; null: an operator, by command. */
  created_by: string | null;
}

/**
 * A key ends when its maker ends, or earlier.
 * @returns undefined when the maker is a key that is not usable any more
 * @throws outcomeUnknown when the answer of the database did not come. A key without a known secret does no harm.
 */
export async function insertKey(database: Database, fields: KeyFields, made: NewKey): Promise<KeyRow | undefined> {
  return (await database.write<KeyRow>(statements.create, valuesOf(fields, made)))[0];
}

/** @returns undefined when there is a usable key that may manage keys */
export async function insertFirstKey(database: Database, fields: KeyFields, made: NewKey): Promise<KeyRow | undefined> {
  return (await database.write<KeyRow>(statements.createFirst, valuesOf(fields, made)))[0];
}

function valuesOf({ name, scopes, expires_at, created_by }: KeyFields, { hint, digest }: NewKey): unknown[] {
  return [name, scopes, expires_at?.toISOString() ?? null, created_by, hint, digest];
}

export async function findKey(database: Database, id: string): Promise<KeyRow | undefined> {
  return (await database.run<KeyRow>(statements.get, [id]))[0];
}

/** Newest first. @param below the id of the last key of the page before */
export async function listKeys(
  database: Database,
  { limit, offset = 0, below }: { limit: number; offset?: number | undefined; below?: string | undefined },
): Promise<{ items: KeyRow[]; total: number; hasMore: boolean }> {
  const rows = await database.run<KeyRow & { total: number }>(statements.list, [limit + 1, offset, below ?? null]);
  const found = rows.filter(({ id }) => id !== null);
  return { items: found.slice(0, limit), total: Number(rows[0]?.total), hasMore: found.length > limit };
}

/**
 * Gives the key another secret. The one before it stays valid for `overlapSeconds`; the one before that ends now.
 * @param actor who does it; null: nobody is known
 * @returns undefined when there is no such key, or it or the key of the actor is revoked or has expired
 */
export async function rotateKey(
  database: Database,
  id: string,
  { hint, digest }: NewKey,
  { overlapSeconds, actor }: { overlapSeconds: number; actor: string | null },
): Promise<KeyRow | undefined> {
  return (await database.write<KeyRow>(statements.rotate, [id, hint, digest, overlapSeconds, actor]))[0];
}

/**
 * A key that is revoked already stays as it is.
 * @param actor who does it; null: nobody is known
 * @returns undefined when there is no such key, or the key of the actor is revoked or has expired
 */
export async function revokeKey(database: Database, id: string, actor: string | null): Promise<KeyRow | undefined> {
  return (await database.write<KeyRow>(statements.revoke, [id, actor]))[0];
}

/** Keys, and the database's clock in milliseconds since 1970. */
export interface KeySnapshot {
  now: number;
  keys: KnownKeyRow[];
}

/** Keys that were changed within the last seconds, also those that are revoked. */
export async function readChangedKeys(database: Database, seconds: number): Promise<KeySnapshot> {
  return snapshotOf(await database.run(statements.changed, [seconds]));
}

/** All keys that are neither revoked nor expired. */
export async function readUsableKeys(database: Database): Promise<KeySnapshot> {
  return snapshotOf(await database.run(statements.usable, []));
}

function snapshotOf(rows: (KnownKeyRow & { now: number })[]): KeySnapshot {
  return { now: Number(rows[0]?.now), keys: rows.filter(({ id }) => id !== null) };
}

/** @param uses id of a key → when it was used last, in milliseconds since 1970 */
export async function noteUses(database: Database, uses: ReadonlyMap<string, number>): Promise<void> {
  if (uses.size > 0) await database.run(statements.noteUses, [[...uses.keys()], [...uses.values()]]);
}
