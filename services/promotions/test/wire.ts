// What the tests of promotions send and read.
import type { EventDataOf } from '@promopulse/shared/contracts/index';
import type { PromotionStatus } from '@promopulse/shared/contracts/promotions';
import { type Client, type ClientResponse, problem } from '@promopulse/testing/client';
import type { TestService } from '@promopulse/testing/service';
import type { Field } from '../src/rules.ts';

export type Promotion = Omit<EventDataOf<'promotion.created'>, 'version'>;

/** Every field that a caller decides, as it is sent and shown. */
export const summerSale = {
  name: 'Summer Sale',
  description: 'Get 20% off',
  start_at: '2026-06-01T00:00:00Z',
  end_at: '2026-06-30T23:59:59Z',
} satisfies Record<Field, unknown>;

/** Another value of every field. */
export const edited = {
  name: 'Winter Sale',
  description: 'Get 30% off',
  start_at: '2026-05-01T00:00:00Z',
  end_at: '2026-12-31T23:59:59Z',
} satisfies Record<Field, unknown>;

/** @throws Error when the answer is not 201 */
export async function createPromotion(api: Client, fields: object = {}): Promise<Promotion> {
  return expectStatus(201, await api.post<Promotion>('/promotions', { ...summerSale, ...fields }));
}

export const setStatus = (api: Client, { id }: { id: number }, status: string) =>
  api.post(`/promotions/${id}/status`, { status });

/** A promotion that has reached this status. */
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

function expectStatus<Body>(status: number, answer: ClientResponse<Body>): Body {
  if (answer.status !== status) throw new Error(`${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

export const notFound = problem(404, 'not_found', 'Promotion not found');
