// The tables of schema "users". No column holds an email or a phone unencrypted; names are unencrypted.
import { defineEntity, p } from '@mikro-orm/postgresql';
import { Lease } from '@promopulse/shared/database/lease';
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
    /** Grows only when the data of events changes, so not with a change of names, email or phone. */
    version: p.integer().default(1),
    created_at: p.datetime(3).defaultRaw('now()'),
    updated_at: p
      .datetime(3)
      .defaultRaw('now()')
      .onUpdate(() => new Date()),
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

export const entities = [User, KeyFingerprint, OutboxMessage, Publication, Lease];
