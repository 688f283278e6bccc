// The shapes of requests and responses about subscriptions.
import { subscriptionState } from '@promopulse/shared/contracts/subscriptions';
import { ruleViolation } from '@promopulse/shared/errors';
import { createCursor, pageQuery, pageSchema, positionTime } from '@promopulse/shared/http/pagination';
import { bodyId, isStorable, required, textId } from '@promopulse/shared/http/schemas';
import { z } from 'zod';
import { type ListFilter, maxMetadataBytes } from './queries.ts';

const maxMetadataDepth = 16;

/** A JSON object that is returned as it was sent. The check is not a recursive schema: a deep body would overflow it. */
const metadata = z
  .custom<Record<string, unknown> | null>(isObjectOrNull, { error: required('must be an object or null'), abort: true })
  .superRefine((value, context) => {
    const broken = value === null ? undefined : brokenRule(value, 1, []);
    if (broken) context.addIssue({ code: 'custom', path: broken.path, message: broken.rule });
    else if (Buffer.byteLength(JSON.stringify(value)) > maxMetadataBytes) {
      context.addIssue({ code: 'custom', message: `must be at most ${maxMetadataBytes} bytes as JSON` });
    }
  })
  .meta({ override: { type: ['object', 'null'], additionalProperties: true } });

function isObjectOrNull(value: unknown): boolean {
  return typeof value === 'object' && !Array.isArray(value);
}

function brokenRule(value: unknown, depth: number, path: string[]): { path: string[]; rule: string } | undefined {
  if (typeof value === 'string' && !isStorable(value)) {
    return { path, rule: 'must be well-formed Unicode without NUL characters' };
  }
  // JavaScript has already rounded a larger integer, so it would be returned as another number.
  if (
    typeof value === 'number' &&
    !(Number.isSafeInteger(value) || (Number.isFinite(value) && !Number.isInteger(value)))
  ) {
    return { path, rule: 'must be a number that a double holds exactly: write large integers as strings' };
  }
  if (typeof value !== 'object' || value === null) return undefined;
  if (depth > maxMetadataDepth)
    return { path: path.slice(0, 1), rule: `must be nested at most ${maxMetadataDepth} deep` };
  for (const [key, member] of Object.entries(value)) {
    if (!isStorable(key)) return { path, rule: 'must have keys of well-formed Unicode without NUL characters' };
    const broken = brokenRule(member, depth + 1, [...path, key]);
    if (broken) return broken;
  }
  return undefined;
}

export const newSubscription = z.strictObject({
  user_id: bodyId,
  promotion_id: bodyId,
  metadata: metadata.optional(),
});

export const newSubscriptionExample = {
  user_id: 1,
  promotion_id: 1,
  metadata: { source: 'web', campaign: 'summer2026' },
};

export const subscriptionId = z.strictObject({ id: textId });

const { created_at, ...presentedState } = subscriptionState.omit({ version: true }).shape;

/** What events carry, and the metadata. */
export const presentedSubscription = z
  .object({ ...presentedState, metadata: z.record(z.string(), z.unknown()).nullable(), created_at })
  .meta({ id: 'Subscription' });

export const subscriptionList = pageSchema(presentedSubscription).meta({ id: 'SubscriptionList' });

export const subscriptionCursor = createCursor('s1', z.tuple([positionTime, bodyId]));

const listFilters = {
  user_id: textId.optional(),
  promotion_id: textId.optional(),
  is_active: z
    .stringbool({
      truthy: ['true', '1', 't', 'yes', 'y', 'on'],
      falsy: ['false', '0', 'f', 'no', 'n', 'off'],
      error: 'must be true or false, given once',
    })
    .optional()
    .meta({ override: { type: 'boolean' } }),
};

export const subscriptionListQuery = pageQuery(listFilters, subscriptionCursor);

/** @throws ruleViolation unless exactly one of user and promotion is given */
export function listFilterOf({ user_id, promotion_id, ...rest }: z.infer<typeof subscriptionListQuery>): ListFilter {
  if (user_id !== undefined && promotion_id !== undefined) {
    throw ruleViolation('filters_exclusive', 'Cannot filter by both user_id and promotion_id simultaneously', [
      { field: 'promotion_id', rule: 'cannot be combined with user_id' },
    ]);
  }
  if (user_id !== undefined) return { by: 'user', id: user_id, ...rest };
  if (promotion_id !== undefined) return { by: 'promotion', id: promotion_id, ...rest };
  throw ruleViolation('filter_required', 'Must provide either user_id or promotion_id', [
    { field: 'user_id', rule: 'is required unless promotion_id is given' },
  ]);
}

export const ownerParams = z.strictObject({ owner: z.string() });
