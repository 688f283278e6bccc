// The routes of subscriptions.
import { projectionSummary } from '@promopulse/shared/contracts/snapshot';
import type { Database } from '@promopulse/shared/database/database';
import { notFound } from '@promopulse/shared/errors';
import { costOfPage } from '@promopulse/shared/http/pagination';
import { type Route, route } from '@promopulse/shared/http/routes';
import { presentRow } from '@promopulse/shared/outbox/payload';
import { summarize } from './projections/digest-store.ts';
import { ownerNames } from './projections/store.ts';
import { listSubscriptions } from './queries.ts';
import {
  listFilterOf,
  newSubscription,
  newSubscriptionExample,
  ownerParams,
  presentedSubscription,
  subscriptionCursor,
  subscriptionId,
  subscriptionList,
  subscriptionListQuery,
} from './schemas.ts';
import { type ActiveCheck, deactivate, subscribe } from './subscriptions.ts';

export function subscriptionRoutes(database: Database, activeCheck: ActiveCheck): Route[] {
  return [
    route({
      method: 'post',
      path: '/subscriptions',
      operationId: 'createSubscription',
      summary: 'Subscribe a user to an active promotion',
      description:
        'Once per user and promotion. The user is checked first, then the promotion, then whether it is a duplicate.',
      body: newSubscription,
      example: newSubscriptionExample,
      success: { status: 201, description: 'The subscription', schema: presentedSubscription },
      errors: {
        404: 'there is no such user',
        409: 'the user is or was subscribed',
        415: 'the body is not JSON',
        422: 'a field breaks its rule, or the promotion is missing or not active',
        503: "the user or the promotion's status is not known at the moment; retry after the time in Retry-After. With the code `outcome_unknown`, without Retry-After: the subscription may or may not have been made",
      },
      handle: async ({ body, requestId }) => ({
        status: 201,
        body: presentRow(presentedSubscription, await subscribe(database, activeCheck, body, requestId)),
      }),
    }),
    route({
      method: 'get',
      path: '/subscriptions',
      operationId: 'listSubscriptions',
      summary: "List a user's subscriptions or a promotion's subscribers, newest first",
      description:
        'Exactly one of `user_id` and `promotion_id` must be given. To read the whole list, send `next_cursor` back as `cursor` with the same filters: every page costs the same, and rows that are added meanwhile do not shift it.',
      query: subscriptionListQuery,
      success: {
        status: 200,
        description: 'A page and the total',
        schema: subscriptionList,
      },
      errors: { 422: 'neither or both of the ids are given, or a parameter is unknown, repeated or breaks its rule' },
      mayBeLarge: (query) => costOfPage(query) !== undefined,
      handle: async ({ query }) => {
        const { items, total, next } = await listSubscriptions(database, listFilterOf(query));
        const presented = items.map((subscription) => presentRow(presentedSubscription, subscription));
        return { status: 200, body: { items: presented, total, next_cursor: next && subscriptionCursor.write(next) } };
      },
    }),
    route({
      method: 'patch',
      path: '/subscriptions/{id}/deactivate',
      operationId: 'deactivateSubscription',
      summary: 'Leave a promotion',
      description: 'The subscription stays, inactive. Takes no body.',
      params: subscriptionId,
      success: { status: 200, description: 'The subscription', schema: presentedSubscription },
      errors: { 404: 'there is no such subscription', 422: 'it is inactive already, or the id is invalid' },
      handle: async ({ params, requestId }) => ({
        status: 200,
        body: presentRow(presentedSubscription, await deactivate(database, params.id, requestId)),
      }),
    }),
  ];
}

/** For `npm run after-restore`: what this service has seen of another one. */
export function internalProjectionRoutes(database: Database): Route[] {
  return [
    route({
      method: 'get',
      path: '/internal/projections/{owner}',
      operationId: 'getProjectionSummary',
      summary: 'The highest id seen of an owner, and what it has lost',
      params: ownerParams,
      success: { status: 200, description: 'The summary', schema: projectionSummary },
      errors: { 404: 'this service keeps nothing of that owner' },
      handle: async ({ params }) => {
        const owner = ownerNames.find((each) => each === params.owner);
        if (!owner) throw notFound('Projection not found');
        return { status: 200, body: await summarize(database, owner) };
      },
    }),
  ];
}
