// The routes of promotions.
import { promotionSnapshot, promotionState } from '@promopulse/shared/contracts/promotions';
import type { Database } from '@promopulse/shared/database/database';
import { createCommitOnce } from '@promopulse/shared/database/idempotency/commit-once';
import { historyRoute } from '@promopulse/shared/history/history-routes';
import { costOfPage } from '@promopulse/shared/http/pagination';
import { describedVersion, versionHeaders } from '@promopulse/shared/http/preconditions';
import { type Route, route } from '@promopulse/shared/http/routes';
import type { AppliedReply } from '@promopulse/shared/messaging/applied-reply';
import { ownerRoutes } from '@promopulse/shared/outbox/owner-routes';
import { presentRow } from '@promopulse/shared/outbox/payload';
import { promotionHistory } from './entities.ts';
import {
  changeStatus,
  createPromotion,
  getPromotion,
  getVisiblePromotion,
  listedStatus,
  updatePromotion,
} from './promotions.ts';
import { listPromotions } from './queries.ts';
import { checkEdit, checkTransition, editableText } from './rules.ts';
import {
  newPromotion,
  newPromotionExample,
  presentedPromotion,
  promotionChanges,
  promotionCursor,
  promotionExample,
  promotionHistoryExamples,
  promotionId,
  promotionList,
  promotionListQuery,
  statusChange,
} from './schemas.ts';

const projectionHeader = 'Promopulse-Projection';

export function promotionRoutes(database: Database, expectReply: () => AppliedReply): Route[] {
  const currentVersion = async ({ id }: { id: number }) => (await getPromotion(database, id)).version;
  const commitOnce = createCommitOnce(database);
  return [
    route({
      method: 'post',
      path: '/promotions',
      access: { scope: 'promotions:write' },
      operationId: 'createPromotion',
      takesReason: true,
      summary: 'Create a promotion',
      description: 'It starts as a draft.',
      body: newPromotion,
      example: newPromotionExample,
      success: {
        status: 201,
        description: 'The promotion',
        schema: presentedPromotion,
        headers: {
          Location: { description: 'Path of the promotion', example: '/promotions/1' },
          ...describedVersion(1, '/promotions/1'),
        },
      },
      errors: { 415: 'the body is not JSON', 422: 'a field is missing, unknown or breaks its rule' },
      handle: ({ body, cause }) =>
        commitOnce(cause, async (transaction) => {
          const promotion = await createPromotion(transaction, body, cause);
          const path = `/promotions/${promotion.id}`;
          return {
            status: 201,
            body: presentRow(presentedPromotion, promotion),
            headers: { Location: path, ...versionHeaders(promotion.version, path) },
          };
        }),
    }),
    route({
      method: 'get',
      path: '/promotions',
      access: { scope: 'promotions:read', endUser: 'row' },
      operationId: 'listPromotions',
      summary: 'List promotions, newest first',
      description:
        'To read the whole list, send `next_cursor` back as `cursor` with the same filter (another is 422): every page costs the same, and a row that is added meanwhile moves no other row to another page. An end user gets the active ones, or with `status` the ended ones.',
      query: promotionListQuery,
      success: {
        status: 200,
        description: 'A page and the total',
        schema: promotionList,
      },
      errors: { 422: 'a parameter is unknown, repeated or breaks its rule' },
      mayBeLarge: (query) => costOfPage(query) !== undefined,
      handle: async ({ query, caller }) => {
        const status = listedStatus(query.status, caller);
        const { items, total, next } = await listPromotions(database, { ...query, status });
        const presented = items.map((promotion) => presentRow(presentedPromotion, promotion));
        return {
          status: 200,
          body: { items: presented, total, next_cursor: next && promotionCursor.write(next, query) },
        };
      },
    }),
    route({
      method: 'get',
      path: '/promotions/{id}',
      access: { scope: 'promotions:read', endUser: 'row' },
      operationId: 'getPromotion',
      summary: 'Get a promotion',
      description: 'Reads the promotion with this id, whatever its status. For an end user a draft is not there.',
      params: promotionId,
      success: { status: 200, description: 'The promotion', schema: presentedPromotion, headers: describedVersion(1) },
      errors: { 404: 'there is no such promotion', 422: 'the id is invalid' },
      handle: async ({ params, caller }) => {
        const promotion = await getVisiblePromotion(database, params.id, caller);
        return {
          status: 200,
          body: presentRow(presentedPromotion, promotion),
          headers: versionHeaders(promotion.version),
        };
      },
    }),
    route({
      method: 'patch',
      path: '/promotions/{id}',
      access: { scope: 'promotions:write' },
      operationId: 'updatePromotion',
      takesReason: true,
      summary: 'Edit a promotion',
      description: `A draft: ${editableText('draft')}. An active promotion: ${editableText('active')}. An ended one: ${editableText('ended')}. All the fields given are changed, or none.`,
      params: promotionId,
      body: promotionChanges,
      example: { description: 'Get 30% off' },
      success: {
        status: 200,
        description: 'The promotion',
        schema: presentedPromotion,
        headers: describedVersion(2, '/promotions/1'),
        example: { ...promotionExample, description: 'Get 30% off', updated_at: '2026-05-21T16:00:00.5Z' },
      },
      errors: {
        404: 'there is no such promotion',
        415: 'the body is not JSON',
        422: 'a field is unknown, breaks its rule or cannot be edited in this status',
      },
      problems: [checkEdit('ended', ['name'])].filter((error) => error !== undefined),
      currentVersion,
      handle: ({ params: { id }, body: { status: _rejected, ...changes }, cause, conditions }) =>
        commitOnce(cause, async (transaction) => {
          const promotion = await updatePromotion(transaction, { id, conditions }, changes, cause);
          return {
            status: 200,
            body: presentRow(presentedPromotion, promotion),
            headers: versionHeaders(promotion.version, `/promotions/${id}`),
          };
        }),
    }),
    route({
      method: 'post',
      path: '/promotions/{id}/status',
      access: { scope: 'promotions:write' },
      operationId: 'changePromotionStatus',
      takesReason: true,
      summary: 'Activate or end a promotion',
      description:
        'The transitions are draft to active and active to ended. The status it already has is answered with 200 and changes nothing, whatever `If-Match` says.',
      params: promotionId,
      body: statusChange,
      example: { status: 'active' },
      success: {
        status: 200,
        description: 'The promotion',
        schema: presentedPromotion,
        headers: {
          ...describedVersion(3, '/promotions/1'),
          [projectionHeader]: {
            description:
              '`applied`: the subscriptions service has applied the change; `pending`: it will within seconds, or the answer is that of an earlier request. Absent when nothing changed.',
            values: ['applied', 'pending'],
            example: 'applied',
          },
        },
        example: {
          ...promotionExample,
          description: 'Get 30% off',
          status: 'active',
          updated_at: '2026-06-01T00:00:00.25Z',
        },
      },
      errors: {
        404: 'there is no such promotion',
        415: 'the body is not JSON',
        422: 'the status is invalid, or the transition is not allowed',
      },
      problems: [checkTransition('draft', 'ended')].filter((error) => error !== undefined),
      currentVersion,
      handle: async ({ params: { id }, body, cause, conditions }) => {
        const { wait, dispose, ...reply } = expectReply();
        let isChanged = false;
        try {
          const answer = await commitOnce(cause, async (transaction) => {
            const target = { id, conditions };
            const { promotion, changed } = await changeStatus(transaction, target, body.status, { ...cause, ...reply });
            isChanged = changed;
            // What is kept for a repetition: whether the change is applied is known only after the commit.
            const headers = {
              ...versionHeaders(promotion.version, `/promotions/${id}`),
              ...(isChanged && { [projectionHeader]: 'pending' }),
            };
            return { status: 200, body: presentRow(presentedPromotion, promotion), headers };
          });
          return isChanged ? { ...answer, headers: { ...answer.headers, [projectionHeader]: await wait() } } : answer;
        } finally {
          dispose();
        }
      },
    }),
    historyRoute(database, promotionHistory, {
      title: 'Promotion',
      scope: 'promotions:read',
      params: promotionId,
      examples: promotionHistoryExamples,
    }),
  ];
}

/** For other services only: one promotion with its version, and what a projection needs of all. */
export function internalPromotionRoutes(database: Database): Route[] {
  return [
    ...ownerRoutes(database, {
      owner: 'promotions',
      table: 'promotions',
      contract: promotionSnapshot,
      maxLimit: 1_000,
    }),
    route({
      method: 'get',
      path: '/internal/promotions/{id}',
      access: 'internal',
      operationId: 'getPromotionState',
      summary: 'A promotion with its version',
      params: promotionId,
      success: { status: 200, description: 'The state', schema: promotionState },
      errors: { 404: 'there is no such promotion' },
      handle: async ({ params }) => ({
        status: 200,
        body: presentRow(promotionState, await getPromotion(database, params.id)),
      }),
    }),
  ];
}
