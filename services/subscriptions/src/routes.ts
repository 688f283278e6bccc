// The wire of subscriptions: what is accepted, which use case answers, how it is shown.
import { ruleViolation } from '@promopulse/shared/errors';
import { createCursor, pageQuery, pageSchema, positionTime } from '@promopulse/shared/http/pagination';
import { type Route, route } from '@promopulse/shared/http/routes';
import { bodyId, presentedTime, presentTime, textId } from '@promopulse/shared/http/schemas';
import { z } from 'zod';
import { metadata } from './metadata.ts';
import type { ListFilter, SubscriptionRow } from './queries.ts';
import type { createSubscriptions } from './subscriptions.ts';

const presentedSubscription = z
  .object({
    id: z.int(),
    user_id: z.int(),
    promotion_id: z.int(),
    is_active: z.boolean(),
    metadata: z.record(z.string(), z.unknown()).nullable(),
    created_at: presentedTime,
  })
  .meta({ id: 'Subscription' });

function present(subscription: SubscriptionRow): z.infer<typeof presentedSubscription> {
  return {
    id: subscription.id,
    user_id: subscription.user_id,
    promotion_id: subscription.promotion_id,
    is_active: subscription.is_active,
    metadata: subscription.metadata,
    created_at: presentTime(subscription.created_at),
  };
}

const cursor = createCursor('s1', z.tuple([positionTime, bodyId]));

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
const listQuery = pageQuery(listFilters, cursor);

/** @throws ruleViolation unless exactly one of user and promotion is given */
function filterOf({ user_id, promotion_id, ...rest }: z.infer<typeof listQuery>): ListFilter {
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

export function subscriptionRoutes(subscriptions: ReturnType<typeof createSubscriptions>): Route[] {
  return [
    route({
      method: 'post',
      path: '/subscriptions',
      operationId: 'createSubscription',
      summary: 'Subscribe a user to an active promotion',
      description:
        'Once per user and promotion. The user is checked first, then the promotion, then whether it is a duplicate.',
      body: z.strictObject({ user_id: bodyId, promotion_id: bodyId, metadata: metadata.optional() }),
      example: { user_id: 1, promotion_id: 1, metadata: { source: 'web', campaign: 'summer2026' } },
      success: { status: 201, description: 'The subscription', schema: presentedSubscription },
      errors: {
        404: 'there is no such user',
        409: 'the user is subscribed already, or was once',
        415: 'the body is not JSON',
        422: 'a field breaks its rule, or the promotion is missing or not active',
        503: 'nobody can tell right now whether the user exists or the promotion is active; try again',
      },
      handle: async ({ body, requestId }) => ({
        status: 201,
        body: present(await subscriptions.subscribe(body, requestId)),
      }),
    }),
    route({
      method: 'get',
      path: '/subscriptions',
      operationId: 'listSubscriptions',
      summary: "List a user's subscriptions or a promotion's subscribers, newest first",
      description:
        'Exactly one of `user_id` and `promotion_id` must be given. To walk a list, send `next_cursor` back as `cursor` with the same filters: every page costs the same, and what is added meanwhile moves none.',
      query: listQuery,
      success: {
        status: 200,
        description: 'A page, and how many there are in all',
        schema: pageSchema(presentedSubscription).meta({ id: 'SubscriptionList' }),
      },
      errors: { 422: 'neither or both of the ids are given, or a parameter is unknown, repeated or breaks its rule' },
      handle: async ({ query }) => {
        const { items, total, next } = await subscriptions.list(filterOf(query));
        return { status: 200, body: { items: items.map(present), total, next_cursor: next && cursor.write(next) } };
      },
    }),
    route({
      method: 'patch',
      path: '/subscriptions/{id}/deactivate',
      operationId: 'deactivateSubscription',
      summary: 'Leave a promotion',
      description: 'The subscription stays, inactive. Takes no body.',
      params: z.strictObject({ id: textId }),
      success: { status: 200, description: 'The subscription', schema: presentedSubscription },
      errors: { 404: 'there is no such subscription', 422: 'it is inactive already, or the id is not one' },
      handle: async ({ params, requestId }) => ({
        status: 200,
        body: present(await subscriptions.deactivate(params.id, requestId)),
      }),
    }),
  ];
}
