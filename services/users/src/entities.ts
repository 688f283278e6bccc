// The tables of schema "users". No column holds an email or a phone unencrypted; names are unencrypted.
import { defineEntity, p, raw } from '@mikro-orm/postgresql';
import { IdempotencyKey } from '@promopulse/shared/database/idempotency/idempotency-keys';
import { Lease } from '@promopulse/shared/database/lease';
import { type History, historyColumns } from '@promopulse/shared/history/history-table';
import { OutboxMessage } from '@promopulse/shared/outbox/outbox';
import { Publication } from '@promopulse/shared/outbox/publication';

export const User = defineEntity({
  name: 'User',
  tableName: 'users',
  properties: {
    id: p.bigint('number').primary().autoincrement(),
    first_name: p.string().length(255),
    last_name: p.string().length(255),
    email_encrypted: p.text(),
    email_index: p.string().length(64).unique('users_email_index_unique'),
    phone_encrypted: p.text().nullable(),
    /** Grows by one with each event. A change that records none, such as the same email again, leaves it. */
    version: p.integer().default(1),
    created_at: p.datetime(3).defaultRaw('now()'),
    updated_at: p
      .datetime(3)
      .defaultRaw('now()')
      .onUpdate(() => raw('greatest(updated_at, now())')), // no clock but the database's
  },
  indexes: [
    {
      // For "changed since": a BRIN index costs an insert nothing that can be measured.
      name: 'users_updated_at_index',
      expression:
        'create index "users_updated_at_index" on "users"."users" using brin ("updated_at") with (autosummarize = on)',
    },
  ],
});

/** The keys that the stored data need (personal-data/key-fingerprints.ts). */
export const KeyFingerprint = defineEntity({
  name: 'KeyFingerprint',
  tableName: 'key_fingerprints',
  properties: {
    /** `index` or `encryption`. */
    purpose: p.string().length(20).primary(),
    /** 64 hexadecimal digits. */
    fingerprint: p.string().length(64).primary(),
    created_at: p.datetime(3).defaultRaw('now()'),
  },
});

/** How the emails are indexed (personal-data/email-index.ts). The table has one row. Its lock is held to change an index. */
export const EmailIndexing = defineEntity({
  name: 'EmailIndexing',
  tableName: 'email_indexing',
  properties: {
    id: p.integer().primary().autoincrement(false),
    /** Whether a replica of a release before case folding may run. It finds an email only by its former index. */
    shares_former_index: p.boolean(),
  },
});

const UserHistory = defineEntity({
  name: 'UserHistory',
  tableName: 'user_history',
  properties: { user_id: p.bigint('number').primary(), ...historyColumns() },
});

/** All fields are personal: the history has their names, and never a value. */
export const userHistory: History = {
  table: 'users',
  historyTable: 'user_history',
  idColumn: 'user_id',
  fields: ['first_name', 'last_name', 'email', 'phone'],
  columns: { email: 'email_encrypted', phone: 'phone_encrypted' },
};

export const entities = [
  User,
  UserHistory,
  KeyFingerprint,
  EmailIndexing,
  OutboxMessage,
  Publication,
  Lease,
  IdempotencyKey,
];
