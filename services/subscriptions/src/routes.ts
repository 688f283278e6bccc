// The routes of subscriptions.
import type { Cause } from '@promopulse/shared/contracts/cause';
import { subscriptionSnapshot, subscriptionState } from '@promopulse/shared/contracts/subscriptions';
import type { Database } from '@promopulse/shared/database/database';
import { createCommitOnce } from '@promopulse/shared/database/idempotency/commit-once';
import type { Caller } from '@promopulse/shared/http/caller/caller';
import { costOfPage } from '@promopulse/shared/http/pagination';
import { describedVersion, versionHeaders } from '@promopulse/shared/http/preconditions';
import { type HandlerResult, type Route, route } from '@promopulse/shared/http/routes';
import { ownerRoutes } from '@promopulse/shared/outbox/owner-routes';
import { presentRow } from '@promopulse/shared/outbox/payload';
import { type ActiveCheck, unknownFacts, unknownFactsProblems } from './active-check/active-check.ts';
import { listSubscriptions, type SubscriptionRow } from './queries.ts';
import {
  alreadyActive,
  alreadyInactive,
  duplicate,
  exampleFacts,
  promotionNotActive,
  reactivationNotAllowed,
  userNotFound,
} from './rules.ts';
import {
  filterRequired,
  filtersExclusive,
  listFilterOf,
  newSubscription,
  newSubscriptionExample,
  presentedSubscription,
  subscriptionCursor,
  subscriptionExample,
  subscriptionId,
  subscriptionList,
  subscriptionListQuery,
} from './schemas.ts';
import {
  type CommitRound,
  checkOwner,
  deactivate,
  getOwnSubscription,
  getSubscription,
  reactivate,
  subscribe,
  subscriptionNotFound,
} from './subscriptions.ts';

const refusals = [userNotFound(exampleFacts), ...unknownFactsProblems];

export function subscriptionRoutes(database: Database, activeCheck: ActiveCheck): Route[] {
  const checkFor = ({ userId }: Caller): ActiveCheck => ({ ...activeCheck, concealsDrafts: userId !== null });
  const currentVersion = async ({ id }: { id: number }, caller: Caller) =>
    (await getOwnSubscription(database, id, caller)).version;
  const commitOnce = createCommitOnce(database);
  /** A round that writes is a transaction, because owners are asked between two rounds. */
  const commitRound = (cause: Cause, present: (row: SubscriptionRow) => HandlerResult): CommitRound<HandlerResult> => {
    return (write) =>
      commitOnce(cause, async (transaction) => {
        const row = await write(transaction);
        return row && present(row);
      });
  };
  return [
    route({
      method: 'post',
      path: '/subscriptions',
      access: { scope: 'subscriptions:write', endUser: 'body.user_id' },
      operationId: 'createSubscription',
      summary: 'Subscribe a user to an active promotion',
      description:
        'Once per user and promotion. The user is checked first, then the promotion, then whether it is a duplicate. Who has left a promotion returns by `PATCH /subscriptions/{id}/reactivate`.',
      body: newSubscription,
      example: newSubscriptionExample,
      success: {
        status: 201,
        description: 'The subscription',
        schema: presentedSubscription,
        headers: {
          Location: { description: 'Path of the subscription', example: '/subscriptions/1' },
          ...describedVersion(1, '/subscriptions/1'),
        },
      },
      errors: {
        404: 'there is no such user',
        409: 'the user is subscribed (`already_subscribed`), or was and has left (`subscription_inactive`); `subscription_id` names the subscription',
        415: 'the body is not JSON',
        422: 'a field breaks its rule, or the promotion is not active: `promotion_status` tells what it is',
        503: unknownFacts,
      },
      problems: [
        ...refusals,
        promotionNotActive(exampleFacts),
        duplicate(exampleFacts, 1),
        duplicate({ ...exampleFacts, is_active: false }, 1),
      ],
      handle: ({ body, cause, caller }) => {
        const commit = commitRound(cause, (row) => ({
          status: 201,
          body: presentRow(presentedSubscription, row),
          headers: {
            Location: `/subscriptions/${row.id}`,
            ...versionHeaders(row.version, `/subscriptions/${row.id}`),
          },
        }));
        return subscribe({ ...checkFor(caller), database, commit }, body, cause);
      },
    }),
    route({
      method: 'get',
      path: '/subscriptions',
      access: { scope: 'subscriptions:read', endUser: 'query.user_id' },
      operationId: 'listSubscriptions',
      summary: "List a user's subscriptions or a promotion's subscribers, newest first",
      description:
        'Exactly one of `user_id` and `promotion_id` must be given. To read the whole list, send `next_cursor` back as `cursor` with the same filters (others are 422): every page costs the same, and a row that is added meanwhile moves no other row to another page.',
      query: subscriptionListQuery,
      success: {
        status: 200,
        description: 'A page and the total',
        schema: subscriptionList,
      },
      errors: { 422: 'neither or both of the ids are given, or a parameter is unknown, repeated or breaks its rule' },
      problems: [filterRequired(), filtersExclusive()],
      mayBeLarge: (query) => costOfPage(query) !== undefined,
      handle: async ({ query }) => {
        const { items, total, next } = await listSubscriptions(database, listFilterOf(query));
        const presented = items.map((subscription) => presentRow(presentedSubscription, subscription));
        const next_cursor = next && subscriptionCursor.write(next, query);
        return { status: 200, body: { items: presented, total, next_cursor } };
      },
    }),
    route({
      method: 'get',
      path: '/subscriptions/{id}',
      access: { scope: 'subscriptions:read', endUser: 'row' },
      operationId: 'getSubscription',
      summary: 'Get a subscription',
      description: 'Active or not.',
      params: subscriptionId,
      success: {
        status: 200,
        description: 'The subscription',
        schema: presentedSubscription,
        headers: describedVersion(1),
      },
      errors: { 404: 'there is no such subscription', 422: 'the id is invalid' },
      handle: async ({ params, caller }) => {
        const subscription = await getOwnSubscription(database, params.id, caller);
        return {
          status: 200,
          body: presentRow(presentedSubscription, subscription),
          headers: versionHeaders(subscription.version),
        };
      },
    }),
    route({
      method: 'patch',
      path: '/subscriptions/{id}/deactivate',
      access: { scope: 'subscriptions:write', endUser: 'row' },
      operationId: 'deactivateSubscription',
      summary: 'Leave a promotion',
      description: 'The subscription stays, inactive. Takes no body, or an empty object.',
      params: subscriptionId,
      success: {
        status: 200,
        description: 'The subscription',
        schema: presentedSubscription,
        headers: describedVersion(2, '/subscriptions/1'),
        example: { ...subscriptionExample, is_active: false },
      },
      errors: {
        404: 'there is no such subscription',
        422: 'it is inactive already, the id is invalid, or there is a body',
      },
      problems: [alreadyInactive(1)],
      currentVersion,
      handle: async ({ params: { id }, cause, caller, conditions }) => {
        await checkOwner(database, id, caller);
        return await commitOnce(cause, async (transaction) =>
          presentChanged(await deactivate(transaction, { id, conditions }, cause)),
        );
      },
    }),
    route({
      method: 'patch',
      path: '/subscriptions/{id}/reactivate',
      access: { scope: 'subscriptions:write', endUser: 'row' },
      operationId: 'reactivateSubscription',
      summary: 'Return to a promotion',
      description:
        'Makes an inactive subscription active again, by the rules of a new one: the user exists and the promotion is active. Takes no body.',
      params: subscriptionId,
      success: {
        status: 200,
        description: 'The subscription',
        schema: presentedSubscription,
        headers: describedVersion(3, '/subscriptions/1'),
      },
      errors: {
        404: 'there is no such subscription, or its user does not exist any more',
        422: 'it is active already, the promotion is not active (`promotion_status` tells what it is), or the id is invalid',
        503: unknownFacts,
      },
      problems: [subscriptionNotFound(), alreadyActive(1), reactivationNotAllowed(exampleFacts), ...refusals],
      currentVersion,
      handle: async ({ params: { id }, cause, caller, conditions }) => {
        await checkOwner(database, id, caller);
        const commit = commitRound(cause, presentChanged);
        return await reactivate({ ...checkFor(caller), database, commit }, { id, conditions }, cause);
      },
    }),
  ];
}

function presentChanged(subscription: SubscriptionRow): HandlerResult {
  return {
    status: 200,
    body: presentRow(presentedSubscription, subscription),
    headers: versionHeaders(subscription.version, `/subscriptions/${subscription.id}`),
  };
}

/** For other services only: one subscription with its version, and what a projection needs of all. */
export function internalSubscriptionRoutes(database: Database): Route[] {
  return [
    ...ownerRoutes(database, {
      owner: 'subscriptions',
      table: 'subscriptions',
      contract: subscriptionSnapshot,
      hasChanges: false,
      maxLimit: 10_000,
    }),
    route({
      method: 'get',
      path: '/internal/subscriptions/{id}',
      access: 'internal',
      operationId: 'getSubscriptionState',
      summary: 'A subscription with its version',
      params: subscriptionId,
      success: { status: 200, description: 'The state', schema: subscriptionState },
      errors: { 404: 'there is no such subscription' },
      handle: async ({ params }) => ({
        status: 200,
        body: presentRow(subscriptionState, await getSubscription(database, params.id)),
      }),
    }),
  ];
}
