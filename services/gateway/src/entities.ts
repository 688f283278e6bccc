// The tables of schema "gateway".
import { defineEntity, p } from '@mikro-orm/postgresql';
import { IdempotencyKey } from '@promopulse/shared/database/idempotency/idempotency-keys';

/** A key of a caller (callers/key-format.ts). Of the key itself only the digest is stored. A row is never deleted. */
const ApiKey = defineEntity({
  name: 'ApiKey',
  tableName: 'api_keys',
  properties: {
    id: p.uuid().primary().defaultRaw('uuidv7()'),
    name: p.string().length(100),
    /** The first characters of the key, so that people recognize it. */
    hint: p.string().length(8),
    scopes: p.array(),
    /** SHA-256 of the key. */
    digest: p.blob().unique('api_keys_digest_unique'),
    /** SHA-256 of the key before the last rotation. It is valid until `former_expires_at`. */
    former_digest: p.blob().nullable(),
    former_expires_at: p.datetime(3).nullable(),
    /** Null: never. */
    expires_at: p.datetime(3).nullable(),
    revoked_at: p.datetime(3).nullable(),
    /** Written once a minute at most. */
    last_used_at: p.datetime(3).nullable(),
    /** The actor who made it. Null: an operator, by command. */
    created_by: p.string().length(200).nullable(),
    created_at: p.datetime(3).defaultRaw('now()'),
    /** When the key itself has changed. Uses do not count. */
    updated_at: p.datetime(3).defaultRaw('now()'),
  },
  indexes: [{ name: 'api_keys_updated_at_index', properties: ['updated_at'] }],
});

/**
 * What a client has left of its share (rate-limit/bucket-store.ts). The table is unlogged, which only its migration says: it
 * is empty after a crash of the server.
 */
const RateBucket = defineEntity({
  name: 'RateBucket',
  tableName: 'rate_buckets',
  properties: {
    /** A MAC of the policies and of the actor or the address. */
    key: p.blob().primary(),
    /** For each policy, when the bucket is full again: seconds since 1970. */
    tats: p.array().columnType('double precision[]'),
  },
});

export const entities = [ApiKey, RateBucket, IdempotencyKey];
