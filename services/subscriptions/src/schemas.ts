// The shapes of requests and responses about subscriptions.
import { subscriptionState } from '@promopulse/shared/contracts/subscriptions';
import { type DomainError, ruleViolation } from '@promopulse/shared/errors';
import { createCursor, pageQuery, pageSchema, positionTime } from '@promopulse/shared/http/pagination';
import { bodyId, required, textId } from '@promopulse/shared/http/schemas';
import { credentialRule, mayHoldCredential } from '@promopulse/shared/values/credential-text';
import { JsonText } from '@promopulse/shared/values/json-text';
import { isStorable } from '@promopulse/shared/values/plain-text';
import { z } from 'zod';
import { type ListFilter, maxMetadataBytes } from './queries.ts';

const maxMetadataDepth = 16;

/**
 * A JSON object that is stored and returned as it was sent. The check is not a recursive schema: a deep body would
 * overflow it.
 */
const metadata = z
  .custom<Record<string, unknown> | null>(isObjectOrNull, { error: required('must be an object or null'), abort: true })
  .transform((value, context) => {
    if (value === null) return null;
    const broken = brokenRule(value, 1, []);
    if (broken) {
      context.addIssue({ code: 'custom', path: broken.path, message: broken.rule });
      return z.NEVER;
    }
    const json = JsonText.of(value);
    if (Buffer.byteLength(json.text) > maxMetadataBytes) {
      context.addIssue(
        `must be at most ${maxMetadataBytes} bytes as JSON in UTF-8, without the white space between its tokens`,
      );
    }
    return json;
  })
  .meta({
    override: { type: ['object', 'null'], additionalProperties: true },
    description: `Anything that the caller wants to keep with it, as a JSON object, nested at most ${maxMetadataDepth} deep. At most ${maxMetadataBytes} bytes in UTF-8, with its escapes as they are written and without the white space between its tokens. Null: nothing.`,
  });

function isObjectOrNull(value: unknown): boolean {
  return typeof value === 'object' && !Array.isArray(value);
}

function brokenRule(value: unknown, depth: number, path: string[]): { path: string[]; rule: string } | undefined {
  if (typeof value === 'string') {
    if (!isStorable(value)) return { path, rule: 'must be well-formed Unicode without NUL characters' };
    if (mayHoldCredential(value)) return { path, rule: credentialRule };
  }
  if (typeof value !== 'object' || value === null) return undefined;
  if (depth > maxMetadataDepth)
    return { path: path.slice(0, 1), rule: `must be nested at most ${maxMetadataDepth} deep` };
  for (const [key, member] of Object.entries(value)) {
    if (!isStorable(key)) return { path, rule: 'must have keys of well-formed Unicode without NUL characters' };
    if (mayHoldCredential(key)) return { path, rule: credentialRule };
    const broken = brokenRule(member, depth + 1, [...path, key]);
    if (broken) return broken;
  }
  return undefined;
}

export const newSubscription = z
  .strictObject({
    user_id: bodyId.meta({ description: 'Who subscribes.' }),
    promotion_id: bodyId.meta({ description: 'To which promotion. It must be active.' }),
    metadata: metadata.optional(),
  })
  .meta({ id: 'CreateSubscription', description: 'A new subscription.' });

export const newSubscriptionExample = {
  user_id: 1,
  promotion_id: 1,
  metadata: { source: 'web', campaign: 'summer2026' },
};

export const subscriptionId = z.strictObject({
  id: textId.meta({ description: 'The id of the subscription.', param: { example: 1 } }),
});

const { created_at, ...presentedState } = subscriptionState.omit({ version: true }).shape;

const storedMetadata = z
  .custom<JsonText | null>((value) => value === null || value instanceof JsonText)
  .meta({
    override: { type: ['object', 'null'], additionalProperties: true },
    description: 'What was sent with it, character by character; else null.',
  });

export const subscriptionExample = {
  id: 1,
  ...newSubscriptionExample,
  is_active: true,
  created_at: '2026-06-01T08:15:00.75Z',
};

/** What events carry, and the metadata. */
export const presentedSubscription = z
  .object({ ...presentedState, metadata: storedMetadata, created_at })
  .meta({ id: 'Subscription', description: 'A subscription.', examples: [subscriptionExample] });

export const subscriptionList = pageSchema(presentedSubscription).meta({
  id: 'SubscriptionList',
  description: 'A page of subscriptions.',
});

const listFilters = {
  user_id: textId.optional().meta({
    description: 'The subscriptions of this user. Exactly one of `user_id` and `promotion_id` must be given.',
    param: { example: 1 },
  }),
  promotion_id: textId.optional().meta({
    description: 'The subscriptions to this promotion. Exactly one of `user_id` and `promotion_id` must be given.',
  }),
  is_active: z
    .stringbool({
      truthy: ['true', '1', 't', 'yes', 'y', 'on'],
      falsy: ['false', '0', 'f', 'no', 'n', 'off'],
      error: 'must be true or false, given once',
    })
    .optional()
    .meta({ override: { type: 'boolean' }, description: 'Only the active ones, or only those that were left.' }),
};

export const subscriptionCursor = createCursor({
  list: 's2',
  listBefore: 's1',
  filters: listFilters,
  position: z.tuple([positionTime, bodyId]),
});

export const subscriptionListQuery = pageQuery(subscriptionCursor);

/** @throws ruleViolation unless exactly one of user and promotion is given */
export function listFilterOf({ user_id, promotion_id, ...rest }: z.infer<typeof subscriptionListQuery>): ListFilter {
  if (user_id !== undefined && promotion_id !== undefined) throw filtersExclusive();
  if (user_id !== undefined) return { by: 'user', id: user_id, ...rest };
  if (promotion_id !== undefined) return { by: 'promotion', id: promotion_id, ...rest };
  throw filterRequired();
}

export function filterRequired(): DomainError {
  return ruleViolation('filter_required', 'Must provide either user_id or promotion_id', [
    { field: 'user_id', rule: 'is required unless promotion_id is given' },
  ]);
}

export function filtersExclusive(): DomainError {
  return ruleViolation('filters_exclusive', 'Cannot filter by both user_id and promotion_id simultaneously', [
    { field: 'promotion_id', rule: 'cannot be combined with user_id' },
  ]);
}
