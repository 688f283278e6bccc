// The routes of promotions.
import { promotionState } from '@promopulse/shared/contracts/promotions';
import type { Database } from '@promopulse/shared/database/database';
import { costOfPage } from '@promopulse/shared/http/pagination';
import { type Route, route } from '@promopulse/shared/http/routes';
import type { AppliedReply } from '@promopulse/shared/messaging/applied-reply';
import { ownerRoutes } from '@promopulse/shared/outbox/owner-routes';
import { presentRow } from '@promopulse/shared/outbox/payload';
import { changeStatus, createPromotion, getPromotion, updatePromotion } from './promotions.ts';
import { listPromotions } from './queries.ts';
import { editableText } from './rules.ts';
import {
  newPromotion,
  newPromotionExample,
  presentedPromotion,
  promotionChanges,
  promotionCursor,
  promotionId,
  promotionList,
  promotionListQuery,
  statusChange,
} from './schemas.ts';

export function promotionRoutes(database: Database, expectReply: () => AppliedReply): Route[] {
  return [
    route({
      method: 'post',
      path: '/promotions',
      operationId: 'createPromotion',
      summary: 'Create a promotion',
      description: 'It starts as a draft.',
      body: newPromotion,
      example: newPromotionExample,
      success: {
        status: 201,
        description: 'The promotion',
        schema: presentedPromotion,
        headers: { Location: 'Path of the promotion' },
      },
      errors: { 415: 'the body is not JSON', 422: 'a field is missing, unknown or breaks its rule' },
      handle: async ({ body, requestId }) => {
        const promotion = await createPromotion(database, body, requestId);
        return {
          status: 201,
          body: presentRow(presentedPromotion, promotion),
          headers: { Location: `/promotions/${promotion.id}` },
        };
      },
    }),
    route({
      method: 'get',
      path: '/promotions',
      operationId: 'listPromotions',
      summary: 'List promotions, newest first',
      description:
        'To read the whole list, send `next_cursor` back as `cursor` with the same filter: every page costs the same, and rows that are added meanwhile do not shift it.',
      query: promotionListQuery,
      success: {
        status: 200,
        description: 'A page and the total',
        schema: promotionList,
      },
      errors: { 422: 'a parameter is unknown, repeated or breaks its rule' },
      mayBeLarge: (query) => costOfPage(query) !== undefined,
      handle: async ({ query }) => {
        const { items, total, next } = await listPromotions(database, query);
        const presented = items.map((promotion) => presentRow(presentedPromotion, promotion));
        return { status: 200, body: { items: presented, total, next_cursor: next && promotionCursor.write(next) } };
      },
    }),
    route({
      method: 'get',
      path: '/promotions/{id}',
      operationId: 'getPromotion',
      summary: 'Get a promotion',
      params: promotionId,
      success: { status: 200, description: 'The promotion', schema: presentedPromotion },
      errors: { 404: 'there is no such promotion', 422: 'the id is invalid' },
      handle: async ({ params }) => ({
        status: 200,
        body: presentRow(presentedPromotion, await getPromotion(database, params.id)),
      }),
    }),
    route({
      method: 'patch',
      path: '/promotions/{id}',
      operationId: 'updatePromotion',
      summary: 'Edit a promotion',
      description: `A draft: ${editableText('draft')}. An active promotion: ${editableText('active')}. An ended one: ${editableText('ended')}. All the fields given are changed, or none.`,
      params: promotionId,
      body: promotionChanges,
      example: { description: 'New description' },
      success: { status: 200, description: 'The promotion', schema: presentedPromotion },
      errors: {
        404: 'there is no such promotion',
        415: 'the body is not JSON',
        422: 'a field is unknown, breaks its rule or cannot be edited in this status',
      },
      handle: async ({ params, body: { status: _rejected, ...changes }, requestId }) => ({
        status: 200,
        body: presentRow(presentedPromotion, await updatePromotion(database, params.id, changes, requestId)),
      }),
    }),
    route({
      method: 'post',
      path: '/promotions/{id}/status',
      operationId: 'changePromotionStatus',
      summary: 'Activate or end a promotion',
      description:
        'The transitions are draft to active and active to ended. The status it already has is answered with 200 and changes nothing.',
      params: promotionId,
      body: statusChange,
      example: { status: 'active' },
      success: {
        status: 200,
        description: 'The promotion',
        schema: presentedPromotion,
        headers: {
          'Promopulse-Projection':
            '`applied`: the subscriptions service has applied the change; `pending`: it will within seconds. Absent when nothing changed.',
        },
      },
      errors: {
        404: 'there is no such promotion',
        415: 'the body is not JSON',
        422: 'the status is invalid, or the transition is not allowed',
      },
      handle: async ({ params, body, requestId }) => {
        const { wait, dispose, ...reply } = expectReply();
        try {
          const cause = { ...reply, requestId };
          const { promotion, changed } = await changeStatus(database, params.id, body.status, cause);
          const headers = changed ? { 'Promopulse-Projection': await wait() } : {};
          return { status: 200, body: presentRow(presentedPromotion, promotion), headers };
        } finally {
          dispose();
        }
      },
    }),
  ];
}

/** For other services only: one promotion with its version, and what a projection needs of all. */
export function internalPromotionRoutes(database: Database): Route[] {
  return [
    ...ownerRoutes(database, {
      owner: 'promotions',
      table: 'promotions',
      columns: ['id', 'status', 'version'],
      maxLimit: 1_000,
    }),
    route({
      method: 'get',
      path: '/internal/promotions/{id}',
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
