// Test frame: the requests of promotions in one word each.

import type { PromotionStatus } from '@promopulse/shared/events';
import type { Answer, Client, TestService } from '@promopulse/shared/testing';

export interface Promotion {
  id: number;
  name: string;
  description: string | null;
  status: PromotionStatus;
  start_at: string;
  end_at: string;
  created_at: string;
  updated_at: string;
  created_by: number | null;
}

export const summerSale = {
  name: 'Summer Sale',
  description: 'Get 20% off',
  start_at: '2026-06-01T00:00:00Z',
  end_at: '2026-06-30T23:59:59Z',
};

/** @throws Error when the answer is not 201 */
export async function createPromotion(api: Client, fields: object = {}): Promise<Promotion> {
  return expectStatus(201, await api.post<Promotion>('/promotions', { ...summerSale, ...fields }));
}

export const setStatus = (api: Client, { id }: { id: number }, status: string) =>
  api.post(`/promotions/${id}/status`, { status });

/** A promotion that has come to this status by the way there is. */
export async function promotionIn(api: Client, status: PromotionStatus): Promise<Promotion> {
  let promotion = await createPromotion(api);
  if (status !== 'draft') promotion = expectStatus(200, await setStatus(api, promotion, 'active'));
  if (status === 'ended') promotion = expectStatus(200, await setStatus(api, promotion, 'ended'));
  return promotion;
}

export async function getPromotion(api: Client, { id }: { id: number }): Promise<Promotion> {
  return expectStatus(200, await api.get<Promotion>(`/promotions/${id}`));
}

/** Every event of one promotion, in the order it was recorded. */
export async function eventsOf(service: TestService, { id }: { id: number }) {
  return (await service.events()).filter(({ subject }) => subject === String(id));
}

function expectStatus<Body>(status: number, answer: Answer<Body>): Body {
  if (answer.status !== status) throw new Error(`${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

/** The whole answer of an error, but for its request id. */
export function problem(status: number, title: string, code: string, detail: string, errors?: object[]) {
  return { type: 'about:blank', title, status, detail, code, ...(errors && { errors }) };
}

export const notFound = problem(404, 'Not Found', 'not_found', 'Promotion not found');

/** What a 422 says that is about these fields. */
export function invalid(...broken: (readonly [field: string, rule: string])[]) {
  const detail = broken.map(([field, rule]) => `${field} ${rule}`).join('; ');
  const errors = broken.map(([field, rule]) => ({ field, rule }));
  return problem(422, 'Unprocessable Content', 'validation_failed', detail, errors);
}

/** A problem's body without its request id, once that has been found to be the one of the header. */
export function bodyOf({ body, headers }: Answer<Record<string, unknown>>): object {
  const { request_id, ...rest } = body;
  if (request_id !== headers.get('x-request-id')) throw new Error('the body names another request than the header');
  if (headers.get('content-type') !== 'application/problem+json; charset=utf-8') throw new Error('not a problem');
  return rest;
}
