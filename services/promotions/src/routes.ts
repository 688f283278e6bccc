// The wire of promotions: what is accepted, which use case answers, how it is shown.
import { promotionStatuses } from '@promopulse/shared/contracts/promotions';
import { createCursor, pageQuery, pageSchema } from '@promopulse/shared/http/pagination';
import { type Route, route } from '@promopulse/shared/http/routes';
import { bodyId, filledText, moment, required, text, textId, textInteger } from '@promopulse/shared/http/schemas';
import type { AppliedReply } from '@promopulse/shared/messaging/applied-reply';
import { z } from 'zod';
import { presentedPromotion, presentPromotion, promotionState } from './presentation.ts';
import type { createPromotions } from './promotions.ts';

const statusRule = `must be one of ${promotionStatuses.join(', ')}`;
const status = z.enum(promotionStatuses, { error: required(statusRule, 'must be given once') });
const promotionId = z.strictObject({ id: textId });
const cursor = createCursor('p1', z.tuple([bodyId]));

const newPromotion = z.strictObject({
  name: filledText(255),
  description: text(4_000).nullable().optional(),
  start_at: moment,
  end_at: moment,
});

const promotionChanges = newPromotion
  .partial()
  .extend({ status: z.never('is changed by POST /promotions/{id}/status').optional() });

const example = {
  name: 'Summer Sale',
  description: 'Get 20% off',
  start_at: '2026-06-01T00:00:00Z',
  end_at: '2026-06-30T23:59:59Z',
};

export function promotionRoutes(promotions: ReturnType<typeof createPromotions>, track: () => AppliedReply): Route[] {
  return [
    route({
      method: 'post',
      path: '/promotions',
      operationId: 'createPromotion',
      summary: 'Create a promotion',
      description: 'It starts as a draft.',
      body: newPromotion,
      example,
      success: {
        status: 201,
        description: 'The promotion',
        schema: presentedPromotion,
        headers: { Location: 'Path of the promotion' },
      },
      errors: { 415: 'the body is not JSON', 422: 'a field is missing, unknown or breaks its rule' },
      handle: async ({ body, requestId }) => {
        const promotion = await promotions.createPromotion(body, requestId);
        return { status: 201, body: presentPromotion(promotion), headers: { Location: `/promotions/${promotion.id}` } };
      },
    }),
    route({
      method: 'get',
      path: '/promotions',
      operationId: 'listPromotions',
      summary: 'List promotions, newest first',
      description:
        'To walk the list, send `next_cursor` back as `cursor` with the same filter: every page costs the same, and what is added meanwhile moves none.',
      query: pageQuery({ status: status.optional() }, cursor),
      success: {
        status: 200,
        description: 'A page, and how many there are in all',
        schema: pageSchema(presentedPromotion).meta({ id: 'PromotionList' }),
      },
      errors: { 422: 'a parameter is unknown, repeated or breaks its rule' },
      handle: async ({ query }) => {
        const { items, total, next } = await promotions.listPromotions(query);
        return {
          status: 200,
          body: { items: items.map(presentPromotion), total, next_cursor: next && cursor.write(next) },
        };
      },
    }),
    route({
      method: 'get',
      path: '/promotions/{id}',
      operationId: 'getPromotion',
      summary: 'Get a promotion',
      params: promotionId,
      success: { status: 200, description: 'The promotion', schema: presentedPromotion },
      errors: { 404: 'there is no such promotion', 422: 'the id is not one' },
      handle: async ({ params }) => ({ status: 200, body: presentPromotion(await promotions.getPromotion(params.id)) }),
    }),
    route({
      method: 'patch',
      path: '/promotions/{id}',
      operationId: 'updatePromotion',
      summary: 'Edit a promotion',
      description:
        'A draft: every field. An active promotion: name and description. An ended one: nothing. All the fields given are changed, or none.',
      params: promotionId,
      body: promotionChanges,
      example: { description: 'New description' },
      success: { status: 200, description: 'The promotion', schema: presentedPromotion },
      errors: {
        404: 'there is no such promotion',
        415: 'the body is not JSON',
        422: 'a field is unknown, breaks its rule or cannot be edited in this status',
      },
      handle: async ({ params, body: { status: _refused, ...changes }, requestId }) => ({
        status: 200,
        body: presentPromotion(await promotions.updatePromotion(params.id, changes, requestId)),
      }),
    }),
    route({
      method: 'post',
      path: '/promotions/{id}/status',
      operationId: 'changePromotionStatus',
      summary: 'Activate or end a promotion',
      description:
        'One way only: draft, active, ended. The status it already has is answered with 200 and changes nothing.',
      params: promotionId,
      body: z.strictObject({ status }),
      example: { status: 'active' },
      success: {
        status: 200,
        description: 'The promotion',
        schema: presentedPromotion,
        headers: {
          'Promopulse-Projection':
            '`applied`: subscriptions already follow the new status; `pending`: they will within seconds. Absent when nothing changed.',
        },
      },
      errors: {
        404: 'there is no such promotion',
        415: 'the body is not JSON',
        422: 'the status is not one, or cannot be reached from here',
      },
      handle: async ({ params, body, requestId }) => {
        const { wait, dispose, ...event } = track();
        try {
          const { promotion, changed } = await promotions.changeStatus(params.id, body.status, { ...event, requestId });
          const headers = changed ? { 'Promopulse-Projection': await wait() } : {};
          return { status: 200, body: presentPromotion(promotion), headers };
        } finally {
          dispose();
        }
      },
    }),
  ];
}

/** For neighbours only: the whole state with its version. */
export function internalPromotionRoutes(promotions: ReturnType<typeof createPromotions>): Route[] {
  const state = presentedPromotion.extend({ version: z.int() });
  return [
    route({
      method: 'get',
      path: '/internal/promotions/{id}',
      operationId: 'getPromotionState',
      summary: 'A promotion with its version',
      params: promotionId,
      success: { status: 200, description: 'The state', schema: state },
      errors: { 404: 'there is no such promotion' },
      handle: async ({ params }) => ({ status: 200, body: promotionState(await promotions.getPromotion(params.id)) }),
    }),
    route({
      method: 'get',
      path: '/internal/promotions',
      operationId: 'listPromotionStates',
      summary: 'Every promotion by ascending id',
      query: z.strictObject({ after_id: textInteger(0, 2_147_483_647), limit: textInteger(1, 1000) }),
      success: { status: 200, description: 'A page', schema: z.object({ items: z.array(state) }) },
      errors: {},
      handle: async ({ query }) => {
        const page = await promotions.listPromotionStates(query.after_id, query.limit);
        return { status: 200, body: { items: page.map(promotionState) } };
      },
    }),
  ];
}
