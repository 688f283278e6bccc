// The table of idempotency keys: which request had which key, and its answer. A row is written in the transaction of its
// change, so that both are there or neither is. No row holds a key or a body as it was sent.
import { createHmac } from 'node:crypto';
import { defineEntity, p } from '@mikro-orm/postgresql';
import type { IdempotentRequest } from '../../contracts/cause.ts';
import { stringifyJson } from '../../values/json-text.ts';
import type { Database } from '../database.ts';

/** Part of every service's entities. */
export const IdempotencyKey = defineEntity({
  name: 'IdempotencyKey',
  tableName: 'idempotency_keys',
  properties: {
    /** Who sent it: the actor, or `anonymous`. Two actors can use one key. */
    scope: p.string().length(150).primary(),
    /** HMAC-SHA-256 of the key. */
    key: p.blob().primary(),
    /** HMAC-SHA-256 of method, path, type and body. */
    fingerprint: p.blob(),
    status: p.smallint(),
    /** The body of the answer as JSON, or its ciphertext where it holds personal data. */
    answer: p.text(),
    headers: p.json(),
    created_at: p.datetime().defaultRaw('now()'),
  },
  indexes: [{ name: 'idempotency_keys_created_at_index', properties: ['created_at'] }],
});

/** What a handler answers. */
export interface Answer {
  status: number;
  body?: unknown;
  headers?: Record<string, string>;
}

/** How a service keeps its answers. */
export interface AnswerProtection {
  /** Key of the HMACs: without it, a short body could be found by guessing. It must not change. */
  secret: Buffer;
  seal(text: string): string;
  /** @returns undefined when the text cannot be read any more */
  unseal(text: string): string | undefined;
}

/** For answers without personal data: the rows of the same schema have their content too. */
export const openAnswers: AnswerProtection = {
  secret: Buffer.alloc(0),
  seal: (text) => text,
  unseal: (text) => text,
};

/** A key as it is stored. */
export interface StoredKey {
  scope: string;
  key: Buffer;
  fingerprint: Buffer;
}

export interface KeptAnswer {
  fingerprint: Buffer;
  status: number;
  answer: string;
  headers: Record<string, string>;
}

const statements = {
  /** $1: 64 bits of the key. Another transaction with the same bits makes it false at once. */
  lock: { text: 'select pg_try_advisory_xact_lock($1::bigint) as locked' },
  find: { text: 'select fingerprint, status, answer, headers from idempotency_keys where scope = $1 and key = $2' },
  keep: {
    text: `insert into idempotency_keys (scope, key, fingerprint, status, answer, headers)
           values ($1, $2, $3, $4, $5, $6::jsonb)`,
  },
};

/** @param schema of the service: advisory locks are common to all schemas of a database */
export function storedKeyOf(
  schema: string,
  scope: string,
  { key, content }: IdempotentRequest,
  secret: Buffer,
): StoredKey {
  const digest = createHmac('sha256', secret)
    .update(JSON.stringify([schema, scope, key]))
    .digest();
  return { scope, key: digest, fingerprint: createHmac('sha256', secret).update(digest).update(content).digest() };
}

/** Takes the key until the end of the transaction. @returns false when another transaction has it */
export async function lockKey(transaction: Database, { key }: StoredKey): Promise<boolean> {
  const [row] = await transaction.run<{ locked: boolean }>(statements.lock, [String(key.readBigInt64BE())]);
  return row?.locked ?? false;
}

/** Call it after `lockKey`: an earlier statement would not see the row of the transaction that had the lock before. */
export async function findAnswer(transaction: Database, { scope, key }: StoredKey): Promise<KeptAnswer | undefined> {
  return (await transaction.run<KeptAnswer>(statements.find, [scope, key]))[0];
}

export async function keepAnswer(
  transaction: Database,
  { scope, key, fingerprint }: StoredKey,
  { status, body, headers = {} }: Answer,
  { seal }: AnswerProtection,
): Promise<void> {
  const values = [
    scope,
    key,
    fingerprint,
    status,
    seal(body === undefined ? '' : stringifyJson(body)),
    JSON.stringify(headers),
  ];
  await transaction.run(statements.keep, values);
}
