// The shapes of requests and responses about events.
import { engagementTypes } from '@promopulse/shared/contracts/engagement';
import { bodyId, filledText, moment, required } from '@promopulse/shared/http/schemas';
import { undisguised } from '@promopulse/shared/values/personal-text';
import { z } from 'zod';
import { invalidItem, maxEvents, receiptStatuses, rejections } from './rules.ts';

const maxCharacters = 64;

/** A name that clients choose. Addresses are refused: it is stored as it is. Numbers are not, because ids are numbers. */
const pseudonym = filledText(maxCharacters).refine(
  (value) => !/@|%40/i.test(undisguised(value)),
  'must not have an @: it must not be an email address',
);

const type = z.enum(engagementTypes, {
  error: required(`must be ${new Intl.ListFormat('en', { type: 'disjunction' }).format(engagementTypes)}`),
});

/** An item of a batch. */
export const newEvent = z
  .strictObject({
    id: pseudonym.meta({
      description:
        'Chosen by the client, such as a UUID. A repetition has the same `id` and the same `occurred_at`, and is counted once.',
    }),
    type: type.meta({ description: 'What the user has done.' }),
    promotion_id: bodyId.meta({ description: 'With which promotion.' }),
    user_id: bodyId.optional().meta({ description: 'Who. Exactly one of `user_id` and `visitor` must be given.' }),
    visitor: pseudonym.optional().meta({
      description:
        'Who, if it is no user: a pseudonym, such as the value of a cookie. Never an address or a phone number.',
    }),
    occurred_at: moment.meta({ description: 'When, by the clock of the client.' }),
    source: pseudonym
      .optional()
      .meta({ description: 'Where, such as `web` or `newsletter`. It is kept with the event.' }),
  })
  .superRefine(({ user_id, visitor }, context) => {
    if (user_id === undefined && visitor === undefined)
      context.addIssue({ code: 'custom', path: ['visitor'], message: 'is required unless user_id is given' });
    if (user_id !== undefined && visitor !== undefined)
      context.addIssue({ code: 'custom', path: ['visitor'], message: 'cannot be combined with user_id' });
  })
  .meta({ id: 'Event', description: 'What a user has done with a promotion.' });

export const eventExample = {
  id: '0198c7a2-5a6e-7c3d-9f52-6f1d2b7c8e90',
  type: 'click',
  promotion_id: 1,
  user_id: 1,
  occurred_at: '2026-06-02T08:15:00.5Z',
  source: 'web',
};

const batchRule = `must be an event, or an array of 1 to ${maxEvents} events`;

/** The items are judged one by one, so that one that breaks a rule does not fail the others. */
export const newEvents = z
  .unknown()
  .refine((value) => typeof value === 'object' && value !== null, { error: required(batchRule), abort: true })
  .transform((value) => ({
    items: (Array.isArray(value) ? value : [value]) as unknown[],
    isList: Array.isArray(value),
  }))
  .refine(({ items }) => items.length >= 1 && items.length <= maxEvents, batchRule);

export const describedEvents = z
  .union([newEvent, z.array(newEvent).min(1).max(maxEvents)])
  .meta({ id: 'Events', description: `An event, or 1 to ${maxEvents} of them.` });

/** An example is sent again and again, so its time is long ago. */
const receiptExample = { id: eventExample.id, status: 'late' };

const receipt = z
  .object({
    id: z.string().nullable().meta({ description: 'The `id` of the event; null when it breaks a rule.' }),
    status: z.enum(receiptStatuses).meta({
      description:
        '`accepted`: counted. `duplicate`: counted before. `late`: too long ago to be counted. `rejected`: not counted, and `code`, `field` and `rule` say why. `retry`: not known yet; send it again.',
    }),
    code: z
      .enum([invalidItem, ...Object.keys(rejections)])
      .optional()
      .meta({ description: 'Of a rejected event: why.' }),
    field: z.string().optional().meta({ description: 'Of a rejected event: the field that breaks a rule.' }),
    rule: z.string().optional().meta({ description: 'Of a rejected event: the rule. It completes "field …".' }),
  })
  .meta({ id: 'Receipt', description: 'What has become of an event.', examples: [receiptExample] });

export type Receipt = z.infer<typeof receipt>;

export const receiptList = z
  .object({ receipts: z.array(receipt).min(1).max(maxEvents).meta({ description: 'One for each event, in order.' }) })
  .meta({ id: 'ReceiptList', description: 'Receipts.', examples: [{ receipts: [receiptExample] }] });
