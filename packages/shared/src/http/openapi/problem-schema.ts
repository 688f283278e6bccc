// The schema of an error response, and every code that it can have.
import { z } from 'zod';
import { validRequestId } from '../../contracts/envelope.ts';
import { bodyId } from '../schemas.ts';

/** Code → the statuses that it comes with. docs/errors.md explains each code; a test compares both. */
export const problemCodes = {
  validation_failed: [422],
  malformed_json: [422],
  invalid_transition: [422],
  field_not_editable: [422],
  promotion_not_active: [422],
  filter_required: [422],
  filters_exclusive: [422],
  already_inactive: [422],
  already_active: [422],
  idempotency_key_reused: [422],
  not_found: [404],
  user_not_found: [404],
  no_such_path: [404],
  method_not_allowed: [405],
  email_taken: [409],
  already_subscribed: [409],
  subscription_inactive: [409],
  idempotency_in_progress: [409],
  idempotent_answer_lost: [409],
  precondition_failed: [412],
  precondition_required: [428],
  body_too_large: [413],
  unsupported_media_type: [415],
  unsupported_encoding: [415],
  unauthenticated: [401],
  invalid_token: [401],
  invalid_request: [400],
  auth_off: [409],
  key_ended: [409],
  key_outlives_caller: [403],
  insufficient_scope: [403],
  client_not_allowed: [403],
  bad_request: [400],
  malformed_request: [400],
  malformed_idempotency_key: [400],
  expectation_failed: [417],
  misdirected_request: [421],
  quota_exceeded: [429],
  rate_limited: [429],
  unavailable: [503],
  outcome_unknown: [503, 504],
  dependency_unavailable: [503],
  ids_exhausted: [503],
  overloaded: [503],
  upstream_unavailable: [503],
  upstream_timeout: [504],
  request_timeout: [408],
  headers_too_large: [431],
  chunk_extensions_too_large: [413],
  internal_error: [500],
} as const satisfies Readonly<Record<string, readonly number[]>>;

/** In the examples of the document. */
export const exampleRequestId = '5f0c6b3e-8a52-4b7e-9c1d-2f4e6a8b0c1d';

const fieldError = z
  .object({
    field: z.string().meta({
      description: 'The field as it was sent, with dots between levels; `body` or `request` for a rule of the whole.',
    }),
    rule: z.string().meta({ description: 'The broken rule. It completes a sentence that begins with the field.' }),
  })
  .meta({ id: 'FieldError', description: 'One broken rule.' });

const code = z.enum(Object.keys(problemCodes)).meta({
  description: 'The reason, for programs. A later release may add codes: treat an unknown one by its status.',
  // For npm run check:breaks: a new value breaks no client that follows the description.
  override: { 'x-may-grow': true },
});

export const problemSchema = z
  .object({
    type: z.string().meta({
      description:
        'The URI of a type that a specification defines, with `quota_exceeded`. Otherwise `about:blank`: the meaning is that of the status and of `code`.',
      override: { format: 'uri-reference' },
    }),
    title: z.string().meta({ description: 'The title of the type; with `about:blank`, the phrase of the status.' }),
    status: z.int().min(400).max(599).meta({ description: 'The status of the response.' }),
    detail: z.string().meta({ description: 'What happened, for people. The wording may change.' }),
    code,
    promotion_status: z.string().optional().meta({
      description:
        'The status of the promotion, with `promotion_not_active` (`draft`, `ended`, or `not_found` when there is no such promotion), `invalid_transition` and `field_not_editable`.',
    }),
    subscription_id: bodyId.optional().meta({
      description: 'With `already_subscribed` and `subscription_inactive`: the subscription that there is.',
    }),
    'violated-policies': z
      .array(z.string())
      .optional()
      .meta({ description: 'With `quota_exceeded`: the names of the policies whose quota is used up.' }),
    errors: z
      .array(fieldError)
      .optional()
      .meta({ description: 'The fields that break a rule. Absent when the error concerns no field.' }),
    request_id: z.string().meta({
      description: 'The `X-Request-Id` of the response. Give it when you report an error.',
      override: { pattern: validRequestId.source, maxLength: 128 },
    }),
  })
  .meta({ id: 'Problem', description: 'Problem details (RFC 9457).' });
