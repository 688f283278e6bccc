// The shapes of requests and responses about promotions.
import { promotionState, promotionStatuses } from '@promopulse/shared/contracts/promotions';
import { createCursor, pageQuery, pageSchema } from '@promopulse/shared/http/pagination';
import { bodyId, filledText, moment, required, text, textId } from '@promopulse/shared/http/schemas';
import { z } from 'zod';
import type { Field } from './rules.ts';

const status = z.enum(promotionStatuses, { error: required(`must be one of ${promotionStatuses.join(', ')}`) }).meta({
  id: 'PromotionStatus',
  description: 'A draft accepts no subscriptions, an active promotion does, and an ended one never does again.',
});

const fieldSchemas = {
  name: filledText(255).meta({ description: 'The name, for people.' }),
  description: text(4_000).nullable().optional().meta({ description: 'More about it. Null: nothing.' }),
  start_at: moment.meta({ description: 'When it starts, with an offset or Z.' }),
  end_at: moment.meta({ description: 'When it ends, with an offset or Z. It must be after `start_at`.' }),
} satisfies Record<Field, z.ZodType>;

export const newPromotion = z
  .strictObject(fieldSchemas)
  .meta({ id: 'CreatePromotion', description: 'A new promotion, which is a draft.' });

export const newPromotionExample = {
  name: 'Summer Sale',
  description: 'Get 20% off',
  start_at: '2026-06-01T00:00:00Z',
  end_at: '2026-06-30T23:59:59Z',
};

export const promotionChanges = newPromotion
  .partial()
  .extend({ status: z.never('is changed by POST /promotions/{id}/status').optional() })
  .meta({ id: 'UpdatePromotion', description: 'The fields to change; a field that is absent stays.' });

export const statusChange = z
  .strictObject({ status })
  .meta({ id: 'ChangePromotionStatus', description: 'The status to reach.' });

export const promotionId = z.strictObject({
  id: textId.meta({ description: 'The id of the promotion.', param: { example: 1 } }),
});

export const promotionCursor = createCursor({
  list: 'p2',
  listBefore: 'p1',
  filters: { status: status.optional().meta({ description: 'Only promotions in this status.' }) },
  position: z.tuple([bodyId]),
});

export const promotionListQuery = pageQuery(promotionCursor);

export const promotionExample = {
  id: 1,
  ...newPromotionExample,
  status: 'draft',
  created_at: '2026-05-20T09:30:00.125Z',
  updated_at: '2026-05-20T09:30:00.125Z',
  created_by: null,
};

/** What the examples of the document leave, when they are sent in its order. */
export const promotionHistoryExamples = [
  {
    version: 3,
    at: '2026-06-01T00:00:00.25Z',
    changes: [{ field: 'status', from: 'draft', to: 'active' }],
  },
  {
    version: 2,
    at: '2026-05-21T16:00:00.5Z',
    changes: [{ field: 'description', from: 'Get 20% off', to: 'Get 30% off' }],
  },
  {
    version: 1,
    at: '2026-05-20T09:30:00.125Z',
    changes: Object.entries({ ...newPromotionExample, status: 'draft' }).map(([field, to]) => ({
      field,
      from: null,
      to,
    })),
  },
];

export const presentedPromotion = promotionState
  .omit({ version: true })
  .extend({ status })
  .meta({ id: 'Promotion', description: 'A promotion.', examples: [promotionExample] });

export const promotionList = pageSchema(presentedPromotion).meta({
  id: 'PromotionList',
  description: 'A page of promotions.',
});
