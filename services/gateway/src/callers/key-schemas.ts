// The shapes of requests and responses about API keys.
import { scopes } from '@promopulse/shared/http/caller/scopes';
import { createCursor, pageQuery, pageSchema } from '@promopulse/shared/http/pagination';
import { filledText, moment, presentedTime, presentTime, required } from '@promopulse/shared/http/schemas';
import { addressRule, mayHoldAddress } from '@promopulse/shared/values/personal-text';
import { z } from 'zod';
import type { KeyRow } from './key-store.ts';

const defaultOverlapSeconds = 3_600;
const maxOverlapSeconds = 604_800;
const exampleId = '0199c0de-7a1b-7c3d-8e5f-0123456789ab';

const scope = z
  .enum(scopes, { error: required(`must be one of ${scopes.join(', ')}`) })
  .meta({ id: 'Scope', description: 'What a caller may be allowed to do.' });

const scopesRule = `must be a list of 1 to ${scopes.length} scopes, none of them twice`;
const scopeList = z
  .array(scope, { error: required(scopesRule) })
  .min(1, scopesRule)
  .max(scopes.length, scopesRule)
  .refine((list) => new Set(list).size === list.length, scopesRule);

export const newKey = z
  .strictObject({
    name: filledText(100)
      .refine((text) => !mayHoldAddress(text), addressRule)
      .meta({ description: 'For people: which program has the key. No email, no phone number.' }),
    scopes: scopeList.meta({ description: 'What the key allows. Its maker needs each of these scopes.' }),
    expires_at: moment
      .nullable()
      .optional()
      .meta({ description: 'When the key ends, with an offset or Z, in the future. Null or absent: never.' }),
  })
  .meta({ id: 'CreateApiKey', description: 'A new API key.' });

export const newKeyExample = { name: 'Shop', scopes: ['users:write', 'subscriptions:write'], expires_at: null };

const overlapRule = `must be an integer from 0 to ${maxOverlapSeconds}`;

export const rotation = z
  .strictObject({
    overlap_seconds: z
      .int({ error: required(overlapRule) })
      .min(0, overlapRule)
      .max(maxOverlapSeconds, overlapRule)
      .default(defaultOverlapSeconds)
      .meta({ description: 'For how long the secret that the key has now stays valid, in seconds.' }),
  })
  .meta({ id: 'RotateApiKey', description: 'How to change the secret.' });

const idRule = 'must be a UUID';
export const keyId = z.strictObject({
  id: z
    .string({ error: required(idRule) })
    .toLowerCase() // RFC 9562 4
    .regex(/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, idRule)
    .meta({
      override: { type: 'string', format: 'uuid' },
      description: 'The id of the key.',
      param: { example: exampleId },
    }),
});

const nullableTime = presentedTime.nullable();

const keyExample = {
  id: exampleId,
  name: 'Shop',
  hint: 'ppk_7Hqd',
  scopes: ['users:write', 'subscriptions:write'],
  expires_at: null,
  revoked_at: null,
  former_expires_at: null,
  last_used_at: null,
  created_by: 'key:0199c0de-0000-7000-8000-000000000001',
  created_at: '2026-05-20T09:30:00.125Z',
  updated_at: '2026-05-20T09:30:00.125Z',
};

const keyFields = {
  id: z.string().meta({
    override: { type: 'string', format: 'uuid' },
    description: 'The id. In logs and histories the caller is `key:<id>`.',
  }),
  name: z.string().meta({ description: 'For people: which program has the key.', maxLength: 100 }),
  hint: z.string().meta({ description: 'The beginning of the secret, by which people recognize it.', maxLength: 8 }),
  scopes: z.array(scope).meta({ description: 'What the key allows. It never changes.' }),
  expires_at: nullableTime.meta({ description: 'When the key ends; null: never.' }),
  revoked_at: nullableTime.meta({ description: 'Since when the key is refused; null: it is not revoked.' }),
  former_expires_at: nullableTime.meta({
    description: 'Until when the secret before the last rotation is valid; null: the key was never rotated.',
  }),
  last_used_at: nullableTime.meta({ description: 'When the key was used last, to a minute; null: never.' }),
  created_by: z
    .string()
    .nullable()
    .meta({ description: 'The caller who made it; null: an operator, by command.', maxLength: 200 }),
  created_at: presentedTime.meta({ description: 'When it was made.' }),
  updated_at: presentedTime.meta({ description: 'When it was made, rotated or revoked last.' }),
};

export const presentedKey = z
  .object(keyFields)
  .meta({ id: 'ApiKey', description: 'An API key without its secret.', examples: [keyExample] });

/** Not valid: its checksum is wrong, so that no scanner takes it for a leak. */
const exampleSecret = 'ppk_7HqdExampleExampleExampleExampleExample000000000000';

export const presentedSecret = z
  .object({
    ...keyFields,
    secret: z.string().meta({ description: 'What the caller sends after Bearer. It is shown only here.' }),
  })
  .meta({
    id: 'ApiKeyWithSecret',
    description: 'An API key with its secret.',
    examples: [{ ...keyExample, secret: exampleSecret }],
  });

export const keyList = pageSchema(presentedKey).meta({ id: 'ApiKeyList', description: 'A page of API keys.' });

/** A UUID as three integers: 48, 40 and 40 bits. */
type Position = [number, number, number];

const bits = (count: number) =>
  z
    .int()
    .min(0)
    .max(2 ** count - 1);

export const keyCursor = createCursor({
  list: 'k1',
  filters: {},
  position: z.tuple([bits(48), bits(40), bits(40)]) as z.ZodType<Position>,
});

export const keyListQuery = pageQuery(keyCursor);

export function positionOf(id: string): Position {
  const hex = id.replaceAll('-', '');
  return [hex.slice(0, 12), hex.slice(12, 22), hex.slice(22)].map((part) => Number.parseInt(part, 16)) as Position;
}

export function idAt([first, second, third]: Position): string {
  const digits = (value: number, length: number): string => value.toString(16).padStart(length, '0');
  const hex = `${digits(first, 12)}${digits(second, 10)}${digits(third, 10)}`;
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

export function presentKey(row: KeyRow): z.infer<typeof presentedKey> {
  const time = (date: Date | null): string | null => date && presentTime(date);
  const { id, name, hint, created_by } = row;
  return {
    ...{ id, name, hint, created_by, scopes: row.scopes as z.infer<typeof scopeList> },
    expires_at: time(row.expires_at),
    revoked_at: time(row.revoked_at),
    former_expires_at: time(row.former_expires_at),
    last_used_at: time(row.last_used_at),
    created_at: presentTime(row.created_at),
    updated_at: presentTime(row.updated_at),
  };
}
